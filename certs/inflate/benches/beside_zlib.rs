//! Beside zlib-rs, in turns, on contents that packages have: half of them not packable, program code, text, pixels.
//! `cargo bench -p mexe-inflate`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use mexe_inflate::{HISTORY, Inflater, ROOM, Stop};

const SIZE: usize = 8_000_000;
const PIECE: usize = 64 * 1024;
const PLAIN: usize = 128 * 1024;

/// Numbers without a pattern.
fn numbers() -> impl Iterator<Item = u32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state >> 32).ok()
    })
}

/// Every other 32 bytes are from a small book.
fn halves() -> Vec<u8> {
    let mut numbers = numbers();
    let mut phrase = || numbers.by_ref().take(8).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let book: Vec<_> = (0..200).map(|_| phrase()).collect();
    let mut all = Vec::with_capacity(SIZE + 64);
    while all.len() < SIZE {
        let new = phrase();
        all.extend(&new);
        all.extend(&book[usize::from(new[0]) % book.len()]);
    }
    all
}

/// What this very program is made of.
fn program() -> Vec<u8> {
    let mut all = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    all.truncate(SIZE);
    all
}

fn text() -> Vec<u8> {
    let words: Vec<_> = include_str!("../../../ARCHITECTURE.md").split_whitespace().collect();
    let mut all = String::new();
    for number in numbers() {
        // Some words come often, most of them seldom.
        let of = words.len() >> (number % 8);
        all.push_str(words[usize::try_from(number >> 8).unwrap() % of.max(1)]);
        all.push(if number % 13 == 0 { '\n' } else { ' ' });
        if all.len() >= SIZE {
            break;
        }
    }
    all.into_bytes()
}

/// The same few bytes over and over, as in pictures.
fn pixels() -> Vec<u8> {
    let of = |number: u32| number.to_le_bytes().repeat(usize::from(number.to_be_bytes()[0]) / 4 + 2);
    numbers().map(|number| number & 0xff00_0303).flat_map(of).take(SIZE).collect()
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(plain.len() + 1000);
    Compress::new(Compression::default(), false)
        .compress_vec(plain, &mut stream, FlushCompress::Finish)
        .unwrap();
    stream
}

fn ours(inflater: &mut Inflater, stream: &[u8], output: &mut [u8]) -> usize {
    inflater.reset();
    let (mut at, mut made) = (HISTORY, 0);
    for mut piece in stream.chunks(PIECE) {
        loop {
            let stop = inflater.inflate(&mut piece, output, &mut at).unwrap();
            if stop == Stop::Input {
                break;
            }
            made += at - HISTORY;
            if stop != Stop::Output {
                return made;
            }
            output.copy_within(at - HISTORY..at, 0);
            at = HISTORY;
        }
    }
    made
}

fn zlib(inflater: &mut Decompress, stream: &[u8], output: &mut [u8]) -> u64 {
    inflater.reset(false);
    for piece in stream.chunks(PIECE) {
        let end = inflater.total_in() + piece.len() as u64;
        loop {
            let used = piece.len() - usize::try_from(end - inflater.total_in()).unwrap();
            let before = inflater.total_out();
            inflater.decompress(&piece[used..], output, FlushDecompress::None).unwrap();
            if inflater.total_in() == end && inflater.total_out() - before < output.len() as u64 {
                break;
            }
        }
    }
    inflater.total_out()
}

fn unpacking(bench: &mut Criterion) {
    for (name, plain) in
        [("halves", halves()), ("program", program()), ("text", text()), ("pixels", pixels())]
    {
        let stream = packed(&plain);
        let mut group = bench.benchmark_group(name);
        group.throughput(Throughput::Bytes(plain.len() as u64));
        let (mut inflater, mut output) = (Inflater::new(), vec![0; HISTORY + PLAIN + ROOM]);
        assert_eq!(ours(&mut inflater, &stream, &mut output), plain.len());
        group.bench_function("ours", |bencher| {
            bencher.iter(|| ours(&mut inflater, black_box(&stream), &mut output));
        });
        let (mut inflater, mut output) = (Decompress::new(false), vec![0; PLAIN]);
        assert_eq!(zlib(&mut inflater, &stream, &mut output), plain.len() as u64);
        group.bench_function("zlib-rs", |bencher| {
            bencher.iter(|| zlib(&mut inflater, black_box(&stream), &mut output));
        });
        group.finish();
    }
}

criterion_group!(benches, unpacking);
criterion_main!(benches);
