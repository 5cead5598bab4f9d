//! The binary `mexegate`: reads the command line and calls the verb.

fn main() {}
