//! What zlib (here zlib-rs, by flate2) takes or refuses, and what it makes of it, is the measure.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]

mod beside_zlib;

use flate2::{Compress, Compression, FlushCompress, Status};
use mexe_inflate::Inflater;
use proptest::prelude::*;

use beside_zlib::{Ended, both_say_the_same, ours};

fn packed(plain: &[u8], level: u32) -> Vec<u8> {
    let mut packer = Compress::new(Compression::new(level), false);
    let mut stream = Vec::with_capacity(plain.len() + plain.len() / 8 + 1000);
    assert_eq!(packer.compress_vec(plain, &mut stream, FlushCompress::Finish).unwrap(), Status::StreamEnd);
    stream
}

/// Contents of several kinds: bytes of any value, of few values, runs, and what stood before at any distance.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000).prop_map(Part::Bytes),
        prop::collection::vec(prop::sample::select(b"etaoin shrdlu\n".to_vec()), 0..3000)
            .prop_map(Part::Bytes),
        prop::collection::vec((0..64_u8).prop_map(|byte| byte + 40), 0..3000).prop_map(Part::Bytes),
        (any::<u8>(), 0..2000_usize).prop_map(|(byte, times)| Part::Bytes(vec![byte; times])),
        (1..40_000_usize, 3..700_usize).prop_map(|(distance, length)| Part::Again(distance, length)),
        (1..40_usize, 3..700_usize).prop_map(|(distance, length)| Part::Again(distance, length)),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(bytes) => all.extend(bytes),
                Part::Again(distance, length) => {
                    for _ in 0..length {
                        let byte = all.len().checked_sub(distance).map_or(0, |at| all[at]);
                        all.push(byte);
                    }
                }
            }
        }
        all
    })
}

#[derive(Debug, Clone)]
enum Part {
    Bytes(Vec<u8>),
    Again(usize, usize),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_packed_is_unpacked(
        plain in contents(),
        level in 0..=9_u32,
        piece in prop_oneof![1..40_usize, 1..70_000_usize],
        room in prop_oneof![1..40_usize, 1..70_000_usize],
        behind in 0..20_usize,
    ) {
        let mut stream = packed(&plain, level);
        let length = stream.len();
        stream.resize(length + behind, 0x5A);
        let (unpacked, ended) = ours(&mut Inflater::new(), &stream, piece, room);
        prop_assert_eq!(ended, Ended::Whole(length));
        prop_assert!(unpacked == plain);
    }

    #[test]
    fn damaged_streams_are_taken_and_refused_as_zlib_does(
        plain in contents(),
        level in 0..=9_u32,
        piece in prop_oneof![1..40_usize, 1..70_000_usize],
        room in prop_oneof![1..40_usize, 1..70_000_usize],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        near_begin in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut stream = packed(&plain, level);
        let changeable = if near_begin { stream.len().min(100) } else { stream.len() };
        for (at, by) in changes {
            stream[at.index(changeable)] ^= by;
        }
        if let Some(cut) = cut {
            stream.truncate(cut.index(stream.len()) + 1);
        }
        both_say_the_same(&stream, piece, room);
    }

    #[test]
    fn bytes_of_any_kind_are_taken_and_refused_as_zlib_does(
        kind in 0..8_u8,
        stream in prop::collection::vec(any::<u8>(), 0..400),
        piece in 1..40_usize,
    ) {
        let mut stream = stream;
        if let Some(first) = stream.first_mut() {
            *first = *first & !7 | kind;
        }
        both_say_the_same(&stream, piece, 1000);
    }
}

#[test]
fn every_short_stream_is_taken_and_refused_as_zlib_does() {
    let mut whole = 0;
    for stream in 0..=u16::MAX {
        let ended = both_say_the_same(&stream.to_le_bytes(), 2, 300);
        whole += u32::from(matches!(ended, Ended::Whole(_)));
    }
    // An empty block by the fixed codes, 10 bits, with any 6 bits behind it.
    assert_eq!(whole, 64);
}

/// Writes bits, lowest first; words of codes are given first bit highest.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn number(mut self, value: u32, bits: usize) -> Self {
        for bit in 0..bits {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
        self
    }

    fn word(self, word: u32, bits: usize) -> Self {
        self.number(word.reverse_bits() >> (32 - bits), bits)
    }

    /// The head of a last block with codes of its own: how many symbols and distances, and 18 lengths of words for lengths, of
    /// which those of 0, 1 and 18 have two bits and that of 2 too: the words 00, 01, 10 and 11.
    fn dynamic(symbols: u32, distances: u32) -> Self {
        let lengths = [0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2];
        let head =
            Self::default().number(5, 3).number(symbols - 257, 5).number(distances - 1, 5).number(14, 4);
        lengths.into_iter().fold(head, |bits, length| bits.number(length, 3))
    }

    fn zeros(self, times: u32) -> Self {
        self.word(3, 2).number(times - 11, 7)
    }

    fn length(self, length: u32) -> Self {
        self.word(length, 2)
    }
}

/// Numbers without a pattern, each below what is asked for.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}

/// The lengths of the words of a complete code with so many symbols, of which `always` has a word. A tree grows by splitting
/// leaves, so every shape can come.
fn complete(numbers: &mut Numbers, symbols: usize, always: usize) -> Vec<u8> {
    let mut depths = vec![1_u8, 1];
    let words = 2 + numbers.below(symbols - 1);
    let deep = numbers.below(8);
    while depths.len() < words {
        let last = depths.len() - 1;
        let at = if numbers.below(8) < deep { last } else { numbers.below(depths.len()) };
        if depths[at] < 15 {
            depths[at] += 1;
            depths.push(depths[at]);
        }
        if depths.iter().all(|depth| *depth == 15) {
            break;
        }
        if depths[last] == 15 {
            depths.rotate_left(1);
        }
    }
    depths.resize(symbols, 0);
    for at in (1..symbols).rev() {
        depths.swap(at, numbers.below(at + 1));
    }
    if depths[always] == 0 {
        let other = depths.iter().position(|depth| *depth > 0).unwrap();
        depths.swap(always, other);
    }
    depths
}

/// The words of a code, by the lengths of its words (RFC 1951, 3.2.2).
fn words(lengths: &[u8]) -> Vec<u32> {
    let mut word = 0;
    let mut words = vec![0; lengths.len()];
    for length in 1..=15 {
        word <<= 1;
        for symbol in 0..lengths.len() {
            if lengths[symbol] == length {
                words[symbol] = word;
                word += 1;
            }
        }
    }
    words
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Codes as no packer makes them: of any shape, up to the largest tables, one after the other.
    #[test]
    fn codes_of_any_shape_mean_what_they_mean_to_zlib(
        seed in 1..u64::MAX,
        piece in 1..200_usize,
        room in 1..3000_usize,
    ) {
        let numbers = &mut Numbers(seed);
        // Enough behind which every distance is.
        let mut bits = Bits { bytes: vec![0], count: 8 };
        bits = bits.number(33_000, 16).number(!33_000, 16);
        bits = (0..33_000).fold(bits, |bits, at| bits.number(at * at / 7, 8));
        for last in [0, 0, 1] {
            let (symbols, distances) = (257 + numbers.below(30), 2 + numbers.below(29));
            let of_symbols = complete(numbers, symbols, 256);
            let of_distances = complete(numbers, distances, 0);
            // The lengths are written by words of four bits, which are themselves.
            bits = bits.number(last, 1).number(2, 2);
            bits = bits.number(symbols as u32 - 257, 5).number(distances as u32 - 1, 5).number(15, 4);
            bits = (0..19).fold(bits, |bits, at| bits.number(if at < 3 { 0 } else { 4 }, 3));
            for length in of_symbols.iter().chain(&of_distances) {
                bits = bits.word(u32::from(*length), 4);
            }
            let (symbol_words, distance_words) = (words(&of_symbols), words(&of_distances));
            for _ in 0..numbers.below(2000) {
                let symbol = numbers.below(symbols);
                if of_symbols[symbol] == 0 || symbol == 256 {
                    continue;
                }
                let distance = numbers.below(distances);
                if symbol > 256 && of_distances[distance] == 0 {
                    continue;
                }
                bits = bits.word(symbol_words[symbol], usize::from(of_symbols[symbol]));
                if symbol < 256 {
                    continue;
                }
                let extra = if symbol < 265 || symbol == 285 { 0 } else { (symbol - 261) / 4 };
                bits = bits.number(numbers.below(1 << extra) as u32, extra);
                bits = bits.word(distance_words[distance], usize::from(of_distances[distance]));
                let extra = (distance / 2).saturating_sub(1);
                bits = bits.number(numbers.below(1 << extra) as u32, extra);
            }
            bits = bits.word(symbol_words[256], usize::from(of_symbols[256]));
        }
        prop_assert_eq!(both_say_the_same(&bits.bytes, piece, room), Ended::Whole(bits.bytes.len()));
    }
}

#[test]
fn rules_of_codes_hold() {
    // Only the end has a word, of one bit; no distances at all.
    let only_end = Bits::dynamic(257, 1).zeros(138).zeros(118).length(1).length(0).word(0, 1);
    assert_eq!(both_say_the_same(&only_end.bytes, 1, 10), Ended::Whole(only_end.bytes.len()));
    // The word that it does not have.
    let no_word = Bits::dynamic(257, 1).zeros(138).zeros(118).length(1).length(0).word(1, 1);
    assert_eq!(both_say_the_same(&no_word.bytes, 100, 10), Ended::Damaged);
    // A word of two bits alone leaves more unused than is allowed.
    let unused = Bits::dynamic(257, 1).zeros(138).zeros(118).length(2).length(0).word(0, 2);
    assert_eq!(both_say_the_same(&unused.bytes, 1, 10), Ended::Damaged);
    // No end.
    let endless = Bits::dynamic(257, 1).length(1).length(1).zeros(138).zeros(117).length(0).word(0, 20);
    assert_eq!(both_say_the_same(&endless.bytes, 1, 10), Ended::Damaged);
    // A third word of one bit.
    let crowded = Bits::dynamic(257, 1).length(1).length(1).zeros(138).zeros(116).length(1).length(0);
    assert_eq!(both_say_the_same(&crowded.word(0, 20).bytes, 1, 10), Ended::Damaged);
    // No words for lengths: each bit is a length of 0, and then the end is missing.
    let wordless = Bits::default().number(5, 3).word(0, 30).word(0, 30).word(0, 30);
    assert_eq!(both_say_the_same(&wordless.bytes, 1, 10), Ended::CutOff);
    let wordless = (0..10).fold(wordless, |bits, _| bits.word(0, 30));
    assert_eq!(both_say_the_same(&wordless.bytes, 1, 10), Ended::Damaged);
    // Lengths that go on behind the last.
    let beyond = Bits::dynamic(257, 1).zeros(138).zeros(138).word(0, 20);
    assert_eq!(both_say_the_same(&beyond.bytes, 1, 10), Ended::Damaged);
    // More symbols, and more distances, than there are.
    for (symbols, distances) in [(287, 1), (288, 1), (257, 31), (257, 32)] {
        let many = Bits::dynamic(symbols, distances).word(0, 30).word(0, 30);
        assert_eq!(both_say_the_same(&many.bytes, 1, 10), Ended::Damaged);
    }
}

#[test]
fn rules_of_the_fixed_codes_hold() {
    let fixed = || Bits::default().number(3, 3);
    let letter = |bits: Bits| bits.word(0x30 + u32::from(b'a'), 8);
    let end = |bits: Bits| bits.word(0, 7).bytes;
    // a, and three bytes from one before: aaaa.
    let four = end(letter(fixed()).word(1, 7).word(0, 5));
    assert_eq!(ours(&mut Inflater::new(), &four, 1, 10), (b"aaaa".to_vec(), Ended::Whole(four.len())));
    assert_eq!(both_say_the_same(&four, 1, 10), Ended::Whole(four.len()));
    // From two before, where only one is.
    let far = end(letter(fixed()).word(1, 7).word(1, 5));
    assert_eq!(both_say_the_same(&far, 1, 10), Ended::Damaged);
    // Symbols 286 and 287, distances 30 and 31.
    for word in [0xC6, 0xC7] {
        assert_eq!(both_say_the_same(&end(letter(fixed()).word(word, 8).word(0, 5)), 1, 10), Ended::Damaged);
    }
    for word in [30, 31] {
        let none = end(letter(fixed()).word(1, 7).word(word, 5));
        assert_eq!(both_say_the_same(&none, 1, 10), Ended::Damaged);
    }
}

#[test]
fn an_inflater_begins_anew_and_reaches_back_to_nothing() {
    let mut inflater = Inflater::new();
    let plain = vec![7; 100_000];
    let stream = packed(&plain, 6);
    for _ in 0..2 {
        assert_eq!(ours(&mut inflater, &stream, 11, 500), (plain.clone(), Ended::Whole(stream.len())));
    }
    // Three bytes from one before the first.
    let far = Bits::default().number(3, 3).word(1, 7).word(0, 5).word(0, 7);
    assert_eq!(ours(&mut inflater, &far.bytes, 100, 500), (Vec::new(), Ended::Damaged));
    // In the middle of a stream, too.
    assert_eq!(ours(&mut inflater, &stream[..50], 11, 500).1, Ended::CutOff);
    assert_eq!(ours(&mut inflater, &far.bytes, 1, 500), (Vec::new(), Ended::Damaged));
}

#[test]
fn the_farthest_copies_are_made_and_no_farther_ones() {
    // Bytes that do not repeat, and a block behind them with one copy: distance 32768 is symbol 29 with 13 ones.
    let plain: Vec<u8> = (0..40_000_u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect();
    for (length, whole) in [(32_768, true), (32_767, false), (40_000, true)] {
        let plain = &plain[..length];
        let mut stream = vec![0];
        stream.extend(u16::try_from(length).unwrap().to_le_bytes());
        stream.extend((!u16::try_from(length).unwrap()).to_le_bytes());
        stream.extend(plain);
        let copy = Bits::default().number(3, 3).word(1, 7).word(29, 5).number(0x1FFF, 13).word(0, 7);
        stream.extend(copy.bytes);
        // Room behind the copy for the quick way.
        stream.extend([0; 64]);
        for (piece, room) in [(1, 1), (1000, 3), (70_000, 70_000)] {
            let ended = both_say_the_same(&stream, piece, room);
            assert_eq!(matches!(ended, Ended::Whole(_)), whole);
        }
    }
}
