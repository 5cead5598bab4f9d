//! The frames of the protocol `mexegate-run`, spoken over an upgraded control connection while the gate executes a
//! program: one byte type, four bytes big-endian length, payload. Codec only; who reads and writes what is decided by
//! `cli::app_run` on this side and the gate's run supervisor on the other.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The name in the `Upgrade` header.
pub const PROTOCOL: &str = "mexegate-run";

/// The header that carries what is to be run: base64 of JSON, because a body does not go well with an upgrade.
pub const RUN_HEADER: &str = "mexe-run";

/// The longest payload that either side sends.
pub const LONGEST: usize = 64 << 10;

const HEAD: usize = 5;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// To the gate, type 0: bytes for the program's standard input; none means its end.
    Stdin(Bytes),
    /// From the gate, type 1: bytes of the program's standard output.
    Stdout(Bytes),
    /// From the gate, type 2: bytes of the program's standard error.
    Stderr(Bytes),
    /// From the gate, type 3: the program ended with this code; nothing follows.
    Exit(u32),
    /// To the gate, type 4: a signal for the program, by number.
    Signal(u8),
    /// From the gate, type 5: the program runs; JSON with the run's id.
    Started(Bytes),
}

/// The bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such type.
    #[error("a frame has the unknown type {0}")]
    Kind(u8),
    /// The payload does not fit the type.
    #[error("a frame of type {kind} has {length} bytes")]
    Length {
        /// The frame's type.
        kind: u8,
        /// The payload's length.
        length: u32,
    },
}

impl Frame {
    /// Appends the frame to `out`. A payload longer than [`LONGEST`] is sent as several frames.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Stdin(bytes) => pieces(0, bytes, out),
            Self::Stdout(bytes) => pieces(1, bytes, out),
            Self::Stderr(bytes) => pieces(2, bytes, out),
            Self::Exit(code) => {
                head(3, 4, out);
                out.put_u32(*code);
            }
            Self::Signal(number) => {
                head(4, 1, out);
                out.put_u8(*number);
            }
            Self::Started(json) => pieces(5, json, out),
        }
    }

    /// Takes one frame off the front of `bytes`; `None` when more are needed.
    ///
    /// # Errors
    /// When the bytes are no frame; the connection is of no use after that.
    pub fn decode(bytes: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let mut peek = bytes.as_ref();
        let (Ok(kind), Ok(length)) = (peek.try_get_u8(), peek.try_get_u32()) else { return Ok(None) };
        let misfit = FrameError::Length { kind, length };
        let size = usize::try_from(length).map_err(|_| misfit)?;
        let fits = match kind {
            0 | 1 | 2 | 5 => size <= LONGEST,
            3 => size == 4,
            4 => size == 1,
            _ => return Err(FrameError::Kind(kind)),
        };
        if !fits {
            return Err(misfit);
        }
        if peek.len() < size {
            return Ok(None);
        }
        bytes.advance(HEAD);
        let mut payload = bytes.split_to(size).freeze();
        Ok(Some(match kind {
            0 => Self::Stdin(payload),
            1 => Self::Stdout(payload),
            2 => Self::Stderr(payload),
            3 => Self::Exit(payload.try_get_u32().map_err(|_| misfit)?),
            4 => Self::Signal(payload.try_get_u8().map_err(|_| misfit)?),
            _ => Self::Started(payload),
        }))
    }
}

fn head(kind: u8, length: u32, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_u32(length);
}

fn pieces(kind: u8, bytes: &Bytes, out: &mut BytesMut) {
    if bytes.is_empty() {
        head(kind, 0, out);
    }
    for piece in bytes.chunks(LONGEST) {
        // INVARIANT: a piece is at most LONGEST bytes, which fits.
        head(kind, u32::try_from(piece.len()).unwrap_or(u32::MAX), out);
        out.put_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Started(Bytes::from_static(b"{\"run\":\"run-1\"}")),
            Frame::Stdout(Bytes::from_static(b"out")),
            Frame::Stderr(Bytes::new()),
            Frame::Stdin(Bytes::from_static(b"in")),
            Frame::Signal(2),
            Frame::Exit(137),
        ]
    }

    #[test]
    fn frames_read_back_split_at_any_byte() {
        let mut wire = BytesMut::new();
        frames().iter().for_each(|frame| frame.encode(&mut wire));
        for cut in 0..=wire.len() {
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for part in [&wire[..cut], &wire[cut..]] {
                buffer.extend_from_slice(part);
                while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, frames(), "cut at {cut}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_long_payload_becomes_several_frames() {
        let long = Bytes::from(vec![7; LONGEST + 10]);
        let mut wire = BytesMut::new();
        Frame::Stdout(long.clone()).encode(&mut wire);
        let mut whole = Vec::new();
        while let Some(Frame::Stdout(piece)) = Frame::decode(&mut wire).unwrap() {
            whole.extend_from_slice(&piece);
        }
        assert_eq!(whole, long);
    }

    #[test]
    fn what_is_no_frame_is_named_before_its_payload_comes() {
        let decode = |bytes: &[u8]| Frame::decode(&mut BytesMut::from(bytes));
        assert_eq!(decode(&[9, 0, 0, 0, 0]), Err(FrameError::Kind(9)));
        assert_eq!(decode(&[3, 0, 0, 0, 5]), Err(FrameError::Length { kind: 3, length: 5 }));
        assert_eq!(decode(&[1, 255, 255, 255, 255]), Err(FrameError::Length { kind: 1, length: u32::MAX }));
        assert_eq!(decode(&[1, 0, 0]), Ok(None));
    }
}
