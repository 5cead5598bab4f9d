//! `linux`: a network device of the kernel's. It is up while it runs and has an address that leads somewhere; the kernel
//! says when that may have changed (rtnetlink), and is then asked how it is. Nobody negotiates with a device: what is asked
//! for is granted as far as the configured rates go, and the gate binds its sockets to the device, marks and paces them
//! ([`crate::upstream`]).

mod device;
mod messages;
mod queues;

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use mexe_qos::Attributes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use serde_json::Value;

use self::device::Queues;
use self::messages::{Message, QUESTIONS, answers, question};
use super::fixed::Fixed;
use super::keeper::LOOK;
use super::{Capacity, Granted, Negotiating, NetworkControl, Report, Request, SessionId, Why};

/// The control of one device.
#[derive(Debug)]
pub struct LinuxControl {
    report: Arc<Report>,
    device: String,
    queues: Option<Queues>,
    grants: Fixed,
}

impl LinuxControl {
    /// Of the device of that name; `has_queues` when the gate is to put its own on it.
    pub fn new(report: Arc<Report>, device: String, has_queues: bool) -> Self {
        let queues = has_queues.then(|| Queues::new(device.clone()));
        Self { grants: Fixed::as_reported(Arc::clone(&report)), report, device, queues }
    }

    /// Gives the device back as it was; to be called when the gate stops. Runs programs: not for a thread that must not wait.
    pub fn leave(&self) {
        if let Some(queues) = &self.queues {
            queues.end();
        }
    }

    /// Follows the device on a thread of its own, until nobody has this control any more.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn follow(self: &Arc<Self>) -> io::Result<()> {
        let this = Arc::downgrade(self);
        let follow = move || {
            let mut news = None;
            while let Some(control) = this.upgrade() {
                match control.looked(&mut news) {
                    Ok(Some(why)) => control.report.down(why),
                    Ok(None) => {
                        control.report.up(Capacity::default());
                        if let Some(queues) = &control.queues {
                            queues.fit(control.report.status().capacity.up);
                        }
                    }
                    Err(error) => {
                        let says = format!("the kernel does not tell of devices: {error}");
                        control.report.down(Why::new("kernel-unreadable", says));
                    }
                }
                drop(control);
                let heard = news.as_ref().map(|news| is_heard(news, LOOK));
                if !matches!(heard, Some(Ok(_))) {
                    news = None;
                    std::thread::sleep(SETTLE);
                }
                // Changes come in bursts: one look for all of them. What is lost of a long one is seen by the look.
                std::thread::sleep(SETTLE);
                while news
                    .as_ref()
                    .is_some_and(|news| recv(news, &mut [0_u8; 8192][..], RecvFlags::DONTWAIT).is_ok())
                {
                }
            }
        };
        std::thread::Builder::new().name(format!("device-{}", self.device)).spawn(follow).map(drop)
    }

    /// Looks, after it is certain that every change from now on is told.
    fn looked(&self, news: &mut Option<OwnedFd>) -> io::Result<Option<Why>> {
        if news.is_none() {
            *news = Some(open(LINK | IPV4_ADDRESS | IPV6_ADDRESS)?);
        }
        self.look()
    }

    /// Why the device cannot be used, if it cannot.
    fn look(&self) -> io::Result<Option<Why>> {
        let asked = open(0)?;
        let (mut device, mut addresses) = (None, Vec::new());
        let mut buffer = vec![0; DATAGRAM_MAX];
        for (sequence, kind) in (1..).zip(QUESTIONS) {
            send(&asked, &question(kind, sequence), SendFlags::empty())?;
            'answer: loop {
                if !is_heard(&asked, PATIENCE)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let (_, length) = recv(&asked, &mut buffer[..], RecvFlags::DONTWAIT)?;
                for message in answers(buffer.get(..length).unwrap_or_default(), sequence) {
                    match message {
                        Message::Link { index, name, runs } if name == self.device => {
                            device = Some((index, runs));
                        }
                        Message::Address { index, address } => addresses.push((index, address)),
                        Message::Done => break 'answer,
                        Message::Error => return Err(io::ErrorKind::PermissionDenied.into()),
                        Message::Link { .. } | Message::Other => {}
                    }
                }
            }
        }
        let device_name = &self.device;
        Ok(match device {
            None => Some(Why::new("device-missing", format!("there is no device `{device_name}`"))),
            Some((_, false)) => {
                Some(Why::new("link-down", format!("`{device_name}` is down, or has no carrier")))
            }
            Some((index, true)) => {
                let usable = addresses.iter().any(|(of, address)| *of == index && leads_out(*address));
                let says = || format!("`{device_name}` has no address but of the link itself");
                (!usable).then(|| Why::new("address-missing", says()))
            }
        })
    }
}

/// An address of the link itself leads nowhere else.
fn leads_out(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_unspecified(),
    }
}

fn open(groups: u32) -> io::Result<OwnedFd> {
    // Without a protocol it is that of routes.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Whether there is something to read within that time.
fn is_heard(socket: &OwnedFd, within: Duration) -> io::Result<bool> {
    let within = Timespec { tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&within))? > 0)
}

impl NetworkControl for LinuxControl {
    fn queues(&self) -> Option<Value> {
        self.queues.as_ref().map(Queues::shown)
    }

    fn negotiate<'a>(&'a self, request: &'a Request) -> Negotiating<'a, Granted> {
        self.grants.negotiate(request)
    }

    fn modify<'a>(&'a self, session: SessionId, request: &'a Request) -> Negotiating<'a, Attributes> {
        self.grants.modify(session, request)
    }

    fn release(&self, session: SessionId) -> Negotiating<'_, ()> {
        self.grants.release(session)
    }
}

// linux/rtnetlink.h: RTMGRP_*.
const LINK: u32 = 1;
const IPV4_ADDRESS: u32 = 0x10;
const IPV6_ADDRESS: u32 = 0x100;
/// The kernel never sends a larger one.
const DATAGRAM_MAX: usize = 64 << 10;
/// For the kernel to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between a change and the look.
const SETTLE: Duration = Duration::from_millis(50);
