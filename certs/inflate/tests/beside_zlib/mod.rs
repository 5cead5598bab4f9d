//! Unpacks a stream here and by zlib (zlib-rs, by flate2). The fuzz target uses it too.

use flate2::{Decompress, FlushDecompress, Status};
use mexe_inflate::{Damaged, HISTORY, Inflater, ROOM, Stop};

/// How unpacking a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With so many bytes of the input used.
    Whole(usize),
    Damaged,
    CutOff,
}

/// Unpacks in pieces of `piece` bytes into `room` bytes at a time.
pub(crate) fn ours(inflater: &mut Inflater, stream: &[u8], piece: usize, room: usize) -> (Vec<u8>, Ended) {
    inflater.reset();
    let mut output = vec![0xA5; HISTORY + room + ROOM];
    let (mut plain, mut at, mut given) = (Vec::new(), HISTORY, 0);
    for piece in stream.chunks(piece) {
        given += piece.len();
        let mut input = piece;
        loop {
            let Ok(stop) = inflater.inflate(&mut input, &mut output, &mut at) else {
                plain.extend_from_slice(&output[HISTORY..at]);
                assert_eq!(inflater.inflate(&mut input, &mut output, &mut at), Err(Damaged));
                return (plain, Ended::Damaged);
            };
            plain.extend_from_slice(&output[HISTORY..at]);
            output.copy_within(at - HISTORY..at, 0);
            // What stands behind means nothing, so it may not be relied on.
            output[HISTORY..].fill(0xA5);
            at = HISTORY;
            match stop {
                Stop::Input => {
                    assert!(input.is_empty(), "more input is asked for with {} bytes at hand", input.len());
                    break;
                }
                Stop::Output => {}
                Stop::End { behind } => {
                    return (plain, Ended::Whole(given - input.len() - behind as usize));
                }
            }
        }
    }
    (plain, Ended::CutOff)
}

fn zlib(stream: &[u8]) -> (Vec<u8>, Ended) {
    let mut inflater = Decompress::new(false);
    let (mut plain, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let (used, made) = (inflater.total_in(), inflater.total_out());
        let rest = &stream[usize::try_from(used).unwrap()..];
        let status = inflater.decompress(rest, &mut buffer, FlushDecompress::None);
        let made = usize::try_from(inflater.total_out() - made).unwrap();
        plain.extend_from_slice(&buffer[..made]);
        match status {
            Err(_) => return (plain, Ended::Damaged),
            Ok(Status::StreamEnd) => {
                return (plain, Ended::Whole(usize::try_from(inflater.total_in()).unwrap()));
            }
            Ok(_) if made == 0 && inflater.total_in() == used => return (plain, Ended::CutOff),
            Ok(_) => {}
        }
    }
}

/// Both say the same of a stream; where it is damaged, how far each came before it saw that is its own affair.
pub(crate) fn both_say_the_same(stream: &[u8], piece: usize, room: usize) -> Ended {
    let mut inflater = Inflater::new();
    let (plain, ended) = ours(&mut inflater, stream, piece, room);
    let again = ours(&mut inflater, stream, piece, room);
    assert!(again.0 == plain && again.1 == ended, "not the same again: {:?}, {ended:?}", again.1);
    let (expected, by_zlib) = zlib(stream);
    assert_eq!(ended, by_zlib);
    let common = plain.len().min(expected.len());
    assert!(plain[..common] == expected[..common], "other bytes");
    assert!(ended == Ended::Damaged || plain.len() == expected.len());
    ended
}
