//! Any bytes as DEFLATE data, in pieces of any size: what zlib takes is taken and comes out the same, what it refuses is refused.
#![no_main]

#[path = "../../../certs/inflate/tests/beside_zlib/mod.rs"]
mod beside_zlib;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [piece, room, stream @ ..] = bytes else { return };
    let size = |byte: u8| 1 << (byte % 16) | usize::from(byte >> 4);
    beside_zlib::both_say_the_same(stream, size(*piece), size(*room));
});
