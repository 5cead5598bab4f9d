//! Any bytes as a datagram of an app's, with its SOCKS5 header in front.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use mexe_wire::RawHost;
use mexe_wire::socks5::{BadDatagram, MAX_REPLY_HEADER, MAX_REQUEST_HEADER, ReplyHeader, client, datagram};

fuzz_target!(|bytes: &[u8]| {
    let mut copy = bytes.to_vec();
    let read = match datagram(&mut copy) {
        Ok(read) => read,
        Err(bad) => {
            assert!(["request-malformed", "command-unsupported"].contains(&bad.reason().code()));
            // What is wrong with a header is wrong with it whatever follows.
            let mut longer = [bytes, &[0x35; 300]].concat();
            let same = datagram(&mut longer).map(|_| ()) == Err(bad);
            assert!(same || bad == BadDatagram::Short);
            return;
        }
    };
    // The payload is what stands behind the header, untouched; the header is what there is besides.
    let (header, payload) = bytes.split_at(bytes.len() - read.payload.len());
    assert_eq!(read.payload, payload);
    assert!(header.len() <= MAX_REQUEST_HEADER);
    assert_eq!(read.destination.as_bytes(), {
        let mut destination = header[3..].to_vec();
        // A name in lower case; addresses and ports as they are.
        if destination[0] == 3 {
            let end = destination.len() - 2;
            destination[2..end].make_ascii_lowercase();
        }
        destination
    });
    // Nothing behind the header has a say in where it goes, and no header goes anywhere by a part of itself.
    assert_eq!(datagram(&mut header.to_vec()).unwrap().destination, read.destination);
    for length in 0..header.len() {
        assert_eq!(datagram(&mut header[..length].to_vec()), Err(BadDatagram::Short));
    }
    let target = match read.destination.target() {
        Ok(target) => target,
        Err(bad) => return assert_eq!(bad, BadDatagram::Name),
    };
    assert_ne!(target.port, 0);
    // Written again it is the same datagram, and the header of an answer from there is this one.
    let mut again = client::datagram(&target, read.payload).unwrap();
    assert_eq!(again, [&[0; 3], read.destination.as_bytes(), read.payload].concat());
    assert_eq!(datagram(&mut again), Ok(read));
    if let RawHost::Address(address) = target.host {
        let reply = ReplyHeader::new(SocketAddr::new(address, target.port));
        assert_eq!(reply.as_slice(), header);
        assert!(header.len() <= MAX_REPLY_HEADER);
    }
});
