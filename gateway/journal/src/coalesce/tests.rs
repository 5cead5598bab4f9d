//! Tests of counting refusals together.
