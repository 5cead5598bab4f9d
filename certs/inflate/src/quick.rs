//! Unpacks symbols while neither input nor output is short, which is nearly always: the bits are refilled eight bytes at a
//! time, and copies are made in pieces that may reach behind their ends.

use crate::codes::{END, LITERAL, RARE, SECOND, base, taken, value};
use crate::{Damaged, Inflater, ROOM};

/// Lengths of words that are looked out for, [`Inflater::likely`]: of bytes of any value, and of those that base64 uses.
pub(crate) const LIKELY: [u8; 2] = [8, 6];

/// Input bytes, no fewer than one turn looks at: it refills twice, by seven bytes at most, and looks at eight each time.
const NEEDED: usize = 16;

/// The next bits of the stream. Above the `held` ones may already stand those that follow.
struct Bits<'a> {
    bits: u64,
    held: u32,
    rest: &'a [u8],
}

impl Bits<'_> {
    /// Sees to it that at least 56 bits are held.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some((next, _)) = self.rest.split_first_chunk::<8>() {
            self.bits |= u64::from_le_bytes(*next) << (self.held & 0x3f);
            let used = (63_u32.wrapping_sub(self.held) >> 3) & 7;
            self.rest = self.rest.get(used as usize..).unwrap_or_default();
            self.held |= 56;
        }
    }

    #[inline(always)]
    const fn skip(&mut self, count: u32) {
        self.bits >>= count & 0x3f;
        self.held = self.held.wrapping_sub(count);
    }
}

impl Inflater {
    /// Unpacks until the block ends, or input or output become short.
    pub(crate) fn quickly(
        &mut self,
        input: &mut &[u8],
        output: &mut [u8],
        at: &mut usize,
        begin: usize,
    ) -> Result<(), Damaged> {
        let mut next = Bits { bits: self.bits, held: self.held, rest: input };
        let ended = match self.likely {
            8 => self.turns::<8>(&mut next, output, at, begin),
            6 => self.turns::<6>(&mut next, output, at, begin),
            _ => self.turns::<0>(&mut next, output, at, begin),
        }?;
        *input = next.rest;
        self.held = next.held & 0x3f;
        self.bits = next.bits & (1_u64 << self.held).wrapping_sub(1);
        if ended {
            self.block_ended();
        }
        Ok(())
    }

    fn turns<const LIKELY: u32>(
        &self,
        next: &mut Bits<'_>,
        output: &mut [u8],
        at: &mut usize,
        begin: usize,
    ) -> Result<bool, Damaged> {
        let mut bits = Bits { ..*next };
        let mut here = *at;
        let (symbols, distances) = self.codes();
        let likely = LITERAL | LIKELY << 8 | LIKELY;
        // At the head of each turn at least 56 bits are held. Two bytes take up to 22 and a length 20 (15 and 5 extra bits), a
        // distance up to 28 (15 and 13) of those behind the refill. Three bytes take 33, four likely words 32: what is left is
        // enough for the next look-up, which therefore need not wait for the refill.
        bits.refill();
        let mut entry = symbols.first(bits.bits);
        let ended = loop {
            if bits.rest.len() < NEEDED || output.len().wrapping_sub(here) < ROOM {
                break false;
            }
            let Some(places) = output.get_mut(here..).and_then(|o| o.first_chunk_mut::<4>()) else {
                break false;
            };
            if LIKELY > 0 {
                // Each look-up would have to wait for the one before it, to know where its word begins.
                let second = symbols.first(bits.bits >> (LIKELY & 0x3f));
                let third = symbols.first(bits.bits >> ((2 * LIKELY) & 0x3f));
                let fourth = symbols.first(bits.bits >> ((3 * LIKELY) & 0x3f));
                let unlike = (entry ^ likely) | (second ^ likely) | (third ^ likely) | (fourth ^ likely);
                if unlike & (LITERAL | 0xffff) == 0 {
                    *places = [byte(entry), byte(second), byte(third), byte(fourth)];
                    bits.skip(4 * LIKELY);
                    here = here.wrapping_add(4);
                    entry = symbols.first(bits.bits);
                    bits.refill();
                    continue;
                }
            }
            if entry & LITERAL != 0 {
                places[0] = byte(entry);
                bits.skip(taken(entry));
                here = here.wrapping_add(1);
                entry = symbols.first(bits.bits);
                if entry & LITERAL != 0 {
                    places[1] = byte(entry);
                    bits.skip(taken(entry));
                    here = here.wrapping_add(1);
                    entry = symbols.first(bits.bits);
                    if entry & LITERAL != 0 {
                        places[2] = byte(entry);
                        bits.skip(taken(entry));
                        here = here.wrapping_add(1);
                        entry = symbols.first(bits.bits);
                        bits.refill();
                        continue;
                    }
                }
            }
            if entry & RARE != 0 {
                if entry & SECOND != 0 {
                    bits.skip(taken(entry));
                    entry = symbols.second(entry, bits.bits);
                    if entry & LITERAL != 0 {
                        *output.get_mut(here).ok_or(Damaged)? = byte(entry);
                        bits.skip(taken(entry));
                        here = here.wrapping_add(1);
                        bits.refill();
                        entry = symbols.first(bits.bits);
                        continue;
                    }
                }
                if entry & END != 0 {
                    bits.skip(taken(entry));
                    break true;
                }
                if entry & RARE != 0 {
                    return Err(Damaged);
                }
            }
            let copied = value(entry, bits.bits);
            bits.skip(taken(entry));
            bits.refill();
            let mut far = distances.first(bits.bits);
            if far & RARE != 0 {
                if far & SECOND != 0 {
                    bits.skip(taken(far));
                    far = distances.second(far, bits.bits);
                }
                if far & RARE != 0 {
                    return Err(Damaged);
                }
            }
            let distance = value(far, bits.bits);
            bits.skip(taken(far));
            entry = symbols.first(bits.bits);
            bits.refill();
            if distance > here.wrapping_sub(begin) {
                return Err(Damaged);
            }
            copy(output, here, distance, copied)?;
            here = here.wrapping_add(copied);
        };
        *at = here;
        *next = bits;
        Ok(ended)
    }
}

#[inline(always)]
fn byte(entry: u32) -> u8 {
    base(entry).to_le_bytes()[0]
}

/// Bytes that are copied at once.
const PIECE: usize = 16;

/// Writes `length` bytes at `at`, the same as those that stand `distance` before, and up to 15 more that mean nothing.
#[inline(always)]
pub(crate) fn copy(output: &mut [u8], at: usize, distance: usize, length: usize) -> Result<(), Damaged> {
    if distance < PIECE {
        return repeat(output, at, distance, length);
    }
    let from = at.checked_sub(distance).ok_or(Damaged)?;
    let mut copied = 0_usize;
    while copied < length {
        let source = output.get(from.wrapping_add(copied)..).and_then(|o| o.first_chunk::<PIECE>());
        let piece = *source.ok_or(Damaged)?;
        let place = output.get_mut(at.wrapping_add(copied)..).and_then(|o| o.first_chunk_mut::<PIECE>());
        *place.ok_or(Damaged)? = piece;
        copied = copied.wrapping_add(PIECE);
    }
    Ok(())
}

/// The same for a distance below [`PIECE`]: as many whole times as one piece has what is repeated are written at once.
fn repeat(output: &mut [u8], at: usize, distance: usize, length: usize) -> Result<(), Damaged> {
    let from = at.checked_sub(distance).ok_or(Damaged)?;
    let mut piece = *output.get(from..).and_then(|o| o.first_chunk::<PIECE>()).ok_or(Damaged)?;
    let (once, again) = piece.split_at_mut_checked(distance).ok_or(Damaged)?;
    for place in again.chunks_mut(distance.max(1)) {
        place.copy_from_slice(once.get(..place.len()).ok_or(Damaged)?);
    }
    let whole = PIECE - PIECE.checked_rem(distance).ok_or(Damaged)?;
    let mut copied = 0_usize;
    while copied < length {
        let place = output.get_mut(at.wrapping_add(copied)..).and_then(|o| o.first_chunk_mut::<PIECE>());
        *place.ok_or(Damaged)? = piece;
        copied = copied.wrapping_add(whole);
    }
    Ok(())
}
