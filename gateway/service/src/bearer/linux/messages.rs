//! The few messages of rtnetlink(7) that tell whether a device is there, runs and has an address: requests as bytes, answers
//! out of bytes. No socket here. What is too short or does not add up ends the reading: the kernel sends neither.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One message of the kernel, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// An address of the device with that index.
    Address {
        /// The device.
        index: u32,
        /// The address.
        address: IpAddr,
    },
    /// The end of what was asked for.
    Done,
    /// The kernel refuses.
    Error,
    /// A device.
    Link {
        /// Its index.
        index: u32,
        /// Its name.
        name: String,
        /// Whether it is up and has a carrier.
        runs: bool,
    },
    /// Something else.
    Other,
}

/// Every device, then every address.
pub(super) const QUESTIONS: [u16; 2] = [GETLINK, GETADDR];

/// The request for all of one kind.
pub(super) fn question(kind: u16, sequence: u32) -> Vec<u8> {
    // The header, and a body of zeros that asks for every family: of a device's 16 bytes, which an address's are a part of.
    let length: u32 = 32;
    let mut bytes = Vec::with_capacity(32);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | DUMP).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 20]);
    bytes
}

/// The messages of one datagram that answer that request.
pub(super) fn answers(mut bytes: &[u8], sequence: u32) -> Vec<Message> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind), Some(of)) = (u32_at(bytes, 0), u16_at(bytes, 4), u32_at(bytes, 8)) {
        let Ok(length) = usize::try_from(length) else { break };
        let Some(body) = bytes.get(HEADER..length) else { break };
        if of == sequence {
            found.push(message(kind, body).unwrap_or(Message::Other));
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    found
}

fn message(kind: u16, body: &[u8]) -> Option<Message> {
    match kind {
        NLMSG_DONE => Some(Message::Done),
        NLMSG_ERROR => Some(Message::Error),
        NEWLINK => {
            let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
            let name = attribute(body.get(16..)?, IFLA_IFNAME)?;
            let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
            Some(Message::Link { index, name, runs: flags & UP_AND_RUNNING == UP_AND_RUNNING })
        }
        NEWADDR => {
            let index = u32_at(body, 4)?;
            let attributes = body.get(8..)?;
            // On a point-to-point link the other is the far end's.
            let own = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
            let address = match own.len() {
                4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(own).ok()?)),
                16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(own).ok()?)),
                _ => return None,
            };
            Some(Message::Address { index, address })
        }
        _ => None,
    }
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length)?;
        if u16_at(bytes, 2)? & TYPE_MASK == wanted {
            return Some(value);
        }
        bytes = bytes.get(aligned(length)..)?;
    }
}

const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

// linux/netlink.h, linux/rtnetlink.h, linux/if.h.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const TYPE_MASK: u16 = 0x3FFF;
const UP_AND_RUNNING: u32 = 1 | 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes =
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2], &sequence.to_ne_bytes(), &[0; 4], body]
                .concat();
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn link(flags: u32, name: &str) -> Vec<u8> {
        let length = u16::try_from(5 + name.len()).unwrap();
        [
            &[0; 4][..],
            &7_u32.to_ne_bytes(),
            &flags.to_ne_bytes(),
            &[0; 4],
            &length.to_ne_bytes(),
            &3_u16.to_ne_bytes(),
            name.as_bytes(),
            &[0],
        ]
        .concat()
    }

    #[test]
    fn devices_and_addresses_are_read_and_other_answers_left_out() {
        let address = [
            &[2, 24, 0, 0][..],
            &7_u32.to_ne_bytes(),
            &8_u16.to_ne_bytes(),
            &2_u16.to_ne_bytes(),
            &[192, 0, 2, 7],
        ]
        .concat();
        let bytes = [
            datagram(NEWLINK, 5, &link(0x43, "wwan0")),
            datagram(NEWLINK, 4, &link(0x43, "other")),
            datagram(NEWLINK, 5, &link(0x03, "wwan1")),
            datagram(NEWADDR, 5, &address),
            datagram(99, 5, &[]),
            datagram(NLMSG_DONE, 5, &[0; 4]),
        ]
        .concat();
        let device = |name: &str, runs| Message::Link { index: 7, name: name.to_owned(), runs };
        let address = Message::Address { index: 7, address: [192, 0, 2, 7].into() };
        let expected =
            [device("wwan0", true), device("wwan1", false), address, Message::Other, Message::Done];
        assert_eq!(answers(&bytes, 5), expected);
        // Cut anywhere, nothing is made up.
        for end in 0..bytes.len() {
            let read = answers(&bytes[..end], 5);
            assert!(read.iter().all(|message| expected.contains(message)), "{end}: {read:?}");
        }
        let endless = datagram(NEWLINK, 5, &[0; 16]).into_iter().map(|_| 0).collect::<Vec<u8>>();
        assert_eq!(answers(&endless, 5), []);
    }
}
