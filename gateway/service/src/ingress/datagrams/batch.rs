//! Many datagrams with one call of the kernel: room for those that have arrived, lent to whoever moves them (each thread has
//! one piece, however many associations it serves), and the sending of several over one connected socket. What is in the room
//! is of no use to anybody after the call. No call takes memory.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use mexe_model::Reason;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg,
};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams that are taken or sent at once.
pub(super) const BATCH: usize = 32;
/// Larger than any datagram with any header in front. Of what is not used, only addresses are taken.
const ROOM: usize = 66 * 1024;

thread_local! {
    static ROOM_OF_THREAD: RefCell<Batch> = RefCell::new(Batch::new());
    static ENVELOPES: RefCell<MultiHeaders<()>> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
}

/// Lends the thread's room. Not to be asked for inside `act`, which would get none.
pub(super) fn with<T: Default>(act: impl FnOnce(&mut Batch) -> T) -> T {
    ROOM_OF_THREAD.with(|batch| batch.try_borrow_mut().map(|mut batch| act(&mut batch)).unwrap_or_default())
}

/// What has arrived.
pub(super) struct Batch {
    room: Box<[u8]>,
    arrived: [(usize, SocketAddr); BATCH],
    // The kernel leaves in a header how long an address was, and takes that for its room the next time: one for each family.
    headers_v4: MultiHeaders<SockaddrIn>,
    headers_v6: MultiHeaders<SockaddrIn6>,
}

/// One datagram with the room around it.
pub(super) struct Arrived<'a> {
    /// What was left free, the datagram, and room.
    pub(super) room: &'a mut [u8],
    /// Bytes of the datagram.
    pub(super) length: usize,
    /// Who sent it.
    pub(super) from: SocketAddr,
}

impl Batch {
    fn new() -> Self {
        Self {
            room: vec![0; BATCH * ROOM].into_boxed_slice(),
            arrived: [(0, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)); BATCH],
            headers_v4: MultiHeaders::preallocate(BATCH, None),
            headers_v6: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Takes what has arrived, at most [`BATCH`] datagrams, each with so many bytes of room in front of it.
    ///
    /// # Errors
    /// The socket's own; [`io::ErrorKind::WouldBlock`] when nothing is there.
    pub(super) fn receive<'b>(
        &'b mut self,
        socket: &UdpSocket,
        before: usize,
    ) -> io::Result<impl Iterator<Item = Arrived<'b>> + use<'b>> {
        let is_v4 = socket.local_addr()?.is_ipv4();
        let Self { room, arrived, headers_v4, headers_v6 } = self;
        let count = socket.try_io(Interest::READABLE, || match is_v4 {
            true => take(socket, headers_v4, (room, before), arrived),
            false => take(socket, headers_v6, (room, before), arrived),
        })?;
        let pieces = room.chunks_exact_mut(ROOM).zip(&*arrived).take(count);
        Ok(pieces.map(|(room, (length, from))| Arrived { room, length: *length, from: *from }))
    }
}

fn take<S: SockaddrLike + Copy + Into<SocketAddr>>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    (room, before): (&mut [u8], usize),
    arrived: &mut [(usize, SocketAddr); BATCH],
) -> io::Result<usize> {
    let mut pieces = room.chunks_exact_mut(ROOM);
    let mut places: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
        let place = pieces.next().and_then(|piece| piece.get_mut(before..));
        [IoSliceMut::new(place.unwrap_or_default())]
    });
    let messages = recvmmsg(socket.as_raw_fd(), headers, &mut places, MsgFlags::MSG_DONTWAIT, None)?;
    let mut count = 0;
    for (message, place) in messages.zip(arrived) {
        let Some(from) = message.address else { break };
        *place = (message.bytes, from.into());
        count += 1;
    }
    Ok(count)
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// The kernel has it.
    Out,
    /// It could not be sent.
    Lost(Reason),
    /// It may not be sent any more.
    Cut(Reason),
}

/// Sends datagrams over a connected socket, at once or not at all: one that would have to wait is dropped, and so are those
/// behind it. Whether they may still be sent is asked before each call of the kernel. `told` hears of each in turn. (tokio's
/// own would first have to be told that a new socket can be written to.)
pub(super) fn send(
    socket: &UdpSocket,
    datagrams: &[[IoSlice<'_>; 1]],
    is_cut: impl Fn() -> Option<Reason>,
    mut told: impl FnMut(Went),
) {
    let (mut left, mut is_again) = (datagrams, false);
    while let [_, behind @ ..] = left {
        if let Some(reason) = is_cut() {
            return left.iter().for_each(|_| told(Went::Cut(reason)));
        }
        match send_some(socket, left) {
            Ok(sent) => {
                (0..sent).for_each(|_| told(Went::Out));
                (left, is_again) = (left.get(sent..).unwrap_or_default(), false);
            }
            // What a router or the peer said to a datagram before is told once, in place of sending this one.
            Err(Errno::CONNREFUSED | Errno::HOSTUNREACH) if !is_again => is_again = true,
            Err(Errno::AGAIN | Errno::NOBUFS) => {
                return left.iter().for_each(|_| told(Went::Lost(Reason::LimitRate)));
            }
            Err(error) => {
                told(Went::Lost(reason_of(error)));
                (left, is_again) = (behind, false);
            }
        }
    }
}

fn reason_of(error: Errno) -> Reason {
    match error {
        Errno::MSGSIZE => Reason::BodyTooLarge,
        Errno::CONNREFUSED => Reason::UpstreamRefused,
        _ => Reason::UpstreamUnreachable,
    }
}

/// How many of them were sent, one at least.
fn send_some(socket: &UdpSocket, datagrams: &[[IoSlice<'_>; 1]]) -> Result<usize, Errno> {
    ENVELOPES.with_borrow_mut(|envelopes| {
        let nothing: [ControlMessage<'_>; 0] = [];
        let (to, flags) = ([const { None }; BATCH], MsgFlags::MSG_DONTWAIT);
        let sent = sendmmsg(socket.as_raw_fd(), envelopes, datagrams, to, nothing, flags);
        let sent = sent.map_err(|error| Errno::from_raw_os_error(error as i32))?.count();
        // It says at least one, or why not.
        if sent == 0 { Err(Errno::AGAIN) } else { Ok(sent) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair(host: &str) -> (UdpSocket, UdpSocket) {
        let one = UdpSocket::bind(format!("{host}:0")).await.unwrap();
        let other = UdpSocket::bind(format!("{host}:0")).await.unwrap();
        one.connect(other.local_addr().unwrap()).await.unwrap();
        other.connect(one.local_addr().unwrap()).await.unwrap();
        (one, other)
    }

    fn sent(socket: &UdpSocket, datagrams: &[Vec<u8>]) -> Vec<Went> {
        let slices: Vec<_> = datagrams.iter().map(|datagram| [IoSlice::new(datagram)]).collect();
        let mut heard = Vec::new();
        send(socket, &slices, || None, |went| heard.push(went));
        heard
    }

    async fn received(socket: &UdpSocket, before: usize, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut all = Vec::new();
        while all.len() < count {
            socket.readable().await.unwrap();
            with(|batch| match batch.receive(socket, before) {
                Ok(arrived) => all.extend(
                    arrived
                        .map(|one| (one.room.get(before..before + one.length).unwrap().to_vec(), one.from)),
                ),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            });
        }
        all
    }

    #[tokio::test]
    async fn datagrams_of_all_sizes_come_whole_in_their_order_and_with_their_sender_over_both_families() {
        // The families in turn: nothing of one is left for the other.
        for host in ["127.0.0.1", "[::1]", "127.0.0.1", "[::1]"] {
            let (one, other) = pair(host).await;
            let sizes = [0, 1, 160, 1400, 9000, 60_000, 65_000, 0, 2];
            let datagrams: Vec<Vec<u8>> =
                (0_u8..).zip(sizes).map(|(fill, length)| vec![fill; length]).collect();
            for before in [0, 22] {
                assert!(sent(&one, &datagrams).iter().all(|went| *went == Went::Out));
                let from = one.local_addr().unwrap();
                let expected: Vec<_> = datagrams.iter().map(|datagram| (datagram.clone(), from)).collect();
                assert_eq!(received(&other, before, sizes.len()).await, expected, "{host} {before}");
            }
            let many: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; 3]).collect();
            assert!(sent(&one, &many).iter().all(|went| *went == Went::Out));
            let got: Vec<_> = received(&other, 0, 100).await.into_iter().map(|(bytes, _)| bytes).collect();
            assert_eq!(got, many, "{host}: more than one batch");
        }
    }

    #[tokio::test]
    async fn what_is_too_large_is_told_and_what_stands_behind_it_goes() {
        let (one, other) = pair("127.0.0.1").await;
        let datagrams = [vec![1; 5], vec![2; 65_536], vec![3; 5]];
        assert_eq!(sent(&one, &datagrams), [Went::Out, Went::Lost(Reason::BodyTooLarge), Went::Out]);
        let got = received(&other, 0, 2).await;
        assert_eq!(got.iter().map(|(bytes, _)| bytes[0]).collect::<Vec<_>>(), [1, 3]);
    }

    #[tokio::test]
    async fn who_is_not_there_is_told_once_and_does_not_keep_the_next_from_going() {
        let (one, other) = pair("127.0.0.1").await;
        let address = other.local_addr().unwrap();
        drop(other);
        assert_eq!(sent(&one, &[vec![1]]), [Went::Out]);
        // The answer to that is waiting by now: the loopback delivers at once.
        let back = UdpSocket::bind(address).await.unwrap();
        back.connect(one.local_addr().unwrap()).await.unwrap();
        assert_eq!(sent(&one, &[vec![2], vec![3]]), [Went::Out, Went::Out]);
        let got = received(&back, 0, 2).await;
        assert_eq!(got.iter().map(|(bytes, _)| bytes[0]).collect::<Vec<_>>(), [2, 3]);
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_rest_and_is_no_endless_loop() {
        let (one, _other) = pair("127.0.0.1").await;
        socket2::SockRef::from(&one).set_send_buffer_size(4608).unwrap();
        let heard = sent(&one, &vec![vec![0; 60_000]; 32]);
        assert_eq!(heard.len(), 32);
    }

    #[tokio::test]
    async fn what_is_cut_in_the_middle_of_a_batch_goes_no_further() {
        let (one, other) = pair("127.0.0.1").await;
        // The call of the kernel ends at the one that is too large.
        let datagrams = [vec![1; 5], vec![2; 65_536], vec![3; 5]];
        let slices: Vec<_> = datagrams.iter().map(|datagram| [IoSlice::new(datagram)]).collect();
        let (asked, mut heard) = (std::cell::Cell::new(0), Vec::new());
        let is_cut = || (asked.replace(asked.get() + 1) > 0).then_some(Reason::PermissionRevoked);
        send(&one, &slices, is_cut, |went| heard.push(went));
        let cut = Went::Cut(Reason::PermissionRevoked);
        assert_eq!(heard, [Went::Out, cut, cut]);
        assert_eq!(received(&other, 0, 1).await.len(), 1);
        assert_eq!(other.try_recv(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
