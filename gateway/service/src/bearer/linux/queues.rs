//! Queues on a network device by traffic class: what the kernel's HTB is told, as arguments for `tc`, and what `tc` says of
//! the queues that are there. Values in, values out; `device` runs it. They order what the gate's own arbiter does not see:
//! what the kernel sends a second time, and packets of programs that go around the gate, which have no mark.

use mexe_model::BitRate;
use mexe_qos::{Marking, TrafficClass};
use serde_json::Value;

/// What the gate's queues are called on a device, so that it knows its own again: also those of a gate that was killed.
const OWN: &str = "6d65:";
/// Parts of a hundred that a class has before others borrow it.
const SHARES: [(TrafficClass, u64); 4] = [
    (TrafficClass::Conversational, 40),
    (TrafficClass::Streaming, 40),
    (TrafficClass::Interactive, 15),
    (TrafficClass::Background, 5),
];

/// Whose queues stand on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Those that the kernel puts on every device.
    Usual,
    /// The gate's.
    Own,
    /// Somebody else has put them there.
    Others,
}

/// Asks which queues a device has.
pub(super) fn question(device: &str) -> Vec<String> {
    words(&format!("-j qdisc show dev {device} root"))
}

/// What the answer to [`question`] means; `None` for no answer of `tc`'s.
pub(super) fn root(answer: &str) -> Option<Root> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let queues = answer.as_array()?;
    let Some(first) = queues.first() else { return Some(Root::Usual) };
    // What the kernel chose itself has no number.
    match first["handle"].as_str()? {
        "0:" => Some(Root::Usual),
        OWN => Some(Root::Own),
        _ => Some(Root::Others),
    }
}

/// Puts queues for a device of that rate in place of what was there. A rate is of payload, and the device carries headers as
/// well: it is let carry a tenth more, so that the gate's arbiter, which knows better, is what holds apps to it.
pub(super) fn setting_up(device: &str, uplink: BitRate) -> Vec<Vec<String>> {
    let mut lines = vec![
        words(&format!("qdisc replace dev {device} root handle {OWN} htb default 40")),
        words(&format!("class replace dev {device} parent {OWN} classid {OWN}1 htb {}", rates(uplink, 100))),
    ];
    for (order, (class, share)) in (0_u8..).zip(SHARES) {
        let id = class_id(order);
        let rates = rates(uplink, share);
        lines.push(words(&format!(
            "class replace dev {device} parent {OWN}1 classid {id} htb {rates} prio {order}"
        )));
        let mark = Marking::from(class).tos();
        if mark == 0 {
            continue;
        }
        for (protocol, preference, field) in [("ip", 1, "ip dsfield"), ("ipv6", 2, "ip6 priority")] {
            lines.push(words(&format!(
                "filter add dev {device} parent {OWN} protocol {protocol} prio {preference} u32 \
                 match {field} {mark:#04x} 0xfc flowid {id}"
            )));
        }
    }
    lines
}

/// Gives the queues another rate; packets that wait stay.
pub(super) fn changing(device: &str, uplink: BitRate) -> Vec<Vec<String>> {
    let root =
        words(&format!("class change dev {device} parent {OWN} classid {OWN}1 htb {}", rates(uplink, 100)));
    let class = |(order, (_, share)): (u8, (TrafficClass, u64))| {
        let (id, rates) = (class_id(order), rates(uplink, share));
        words(&format!("class change dev {device} parent {OWN}1 classid {id} htb {rates} prio {order}"))
    };
    std::iter::once(root).chain((0_u8..).zip(SHARES).map(class)).collect()
}

/// Takes the queues away; the kernel puts there what it has for every device.
pub(super) fn taking_away(device: &str) -> Vec<String> {
    words(&format!("qdisc del dev {device} root handle {OWN}"))
}

fn class_id(order: u8) -> String {
    format!("{OWN}{}0", u16::from(order) + 1)
}

/// The rate of a class and what it may borrow, bit/s; and how much of another's turn it takes at most, bytes.
fn rates(uplink: BitRate, share: u64) -> String {
    let most = u128::from(uplink.get()) * 11 / 10;
    let own = (most * u128::from(share) / 100).max(1);
    format!("rate {own}bit ceil {most}bit quantum 3028")
}

/// One argument for each word: no shell is between us and `tc`.
fn words(line: &str) -> Vec<String> {
    line.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bits: u64) -> BitRate {
        BitRate::bits_per_second(bits).unwrap()
    }

    #[test]
    fn classes_have_their_shares_of_the_whole_and_may_borrow_all_of_it() {
        let lines: Vec<String> =
            setting_up("wwan0", rate(10_000_000)).iter().map(|line| line.join(" ")).collect();
        assert_eq!(lines[0], "qdisc replace dev wwan0 root handle 6d65: htb default 40");
        assert_eq!(
            lines[2],
            "class replace dev wwan0 parent 6d65:1 classid 6d65:10 htb rate 4400000bit ceil 11000000bit quantum 3028 \
             prio 0"
        );
        assert!(lines.contains(
            &"filter add dev wwan0 parent 6d65: protocol ipv6 prio 2 u32 match ip6 priority 0xb8 0xfc flowid 6d65:10"
                .to_owned()
        ));
        // What has no mark goes to the last.
        assert_eq!(lines.iter().filter(|line| line.starts_with("filter")).count(), 6);
        assert!(lines.iter().any(|line| line.contains("classid 6d65:40 htb rate 550000bit")));
        let shares: u64 = SHARES.iter().map(|(_, share)| share).sum();
        assert_eq!(shares, 100);
        assert_eq!(changing("wwan0", rate(1_000)).len(), 5);
        assert!(rates(rate(1), 5).starts_with("rate 1bit ceil 1bit"), "never nothing");
    }

    #[test]
    fn only_what_nobody_put_there_is_replaced() {
        let of =
            |handle: &str| root(&format!("[{{\"kind\":\"htb\",\"handle\":\"{handle}\",\"root\":true}}]"));
        assert_eq!(of("0:"), Some(Root::Usual));
        assert_eq!(of("6d65:"), Some(Root::Own));
        assert_eq!(of("1:"), Some(Root::Others));
        assert_eq!(root("[]"), Some(Root::Usual));
        for wrong in ["", "{}", "[{}]", "[{\"handle\":7}]", "[{\"handle\":"] {
            assert_eq!(root(wrong), None, "{wrong}");
        }
    }
}
