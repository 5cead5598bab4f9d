//! The actions that a package asks for: our own attributes by our names, and the permissions of MIDP 2.0 and the
//! optional packages around it by a table. Called from [`crate::judge`] when the verdict is known; what of it is granted
//! is not decided here.

use std::collections::BTreeMap;

use mexe_model::{Action, ActionGroup, Reason};

use crate::package::PackageFacts;
use crate::verdict::{Quoted, Refusal};

/// An action that a package asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedAction {
    /// The action.
    pub action: Action,
    /// Whether the package does without it.
    pub optional: bool,
}

/// What the package asks for. Unknown optional names are dropped, as MIDP 2.0 has it.
///
/// # Errors
/// `permission-unknown`: a name that is not optional is unknown.
pub(crate) fn of(facts: &PackageFacts) -> Result<Vec<RequestedAction>, Refusal> {
    let mut requested: BTreeMap<Action, bool> = BTreeMap::new();
    for (attribute, optional, known) in ATTRIBUTES {
        let names = facts.attribute(attribute).unwrap_or_default().trim();
        for name in names.split(',').map(str::trim).filter(|_| !names.is_empty()) {
            match known(name) {
                Some(action) => {
                    let entry = requested.entry(action).or_insert(optional);
                    *entry = *entry && optional;
                }
                None if optional => {}
                None => {
                    let detail = format!("{attribute} needs {}, which is unknown here", Quoted(name));
                    return Err(Refusal::new(Reason::PermissionUnknown, detail));
                }
            }
        }
    }
    Ok(requested.into_iter().map(|(action, optional)| RequestedAction { action, optional }).collect())
}

/// How an attribute names actions.
type Names = fn(&str) -> Option<Action>;

/// Attribute, whether its names are optional, and what they are names of.
const ATTRIBUTES: [(&str, bool, Names); 4] = [
    ("MExE-Permissions", false, own),
    ("MExE-Permissions-Opt", true, own),
    ("MIDlet-Permissions", false, midp),
    ("MIDlet-Permissions-Opt", true, midp),
];

/// A name of ours, in a group that exists. Whether the group has it, the security table says.
fn own(name: &str) -> Option<Action> {
    let action: Action = name.parse().ok()?;
    action.group().parse::<ActionGroup>().ok().map(|_| action)
}

/// A permission's name; case counts.
fn midp(name: &str) -> Option<Action> {
    let (_, action) = MIDP.iter().find(|(permission, _)| *permission == name)?;
    action.parse().ok()
}

/// MIDP 2.0 and, behind it, JSR 75, 82, 120, 135, 177, 205, 211. What is not here (location, SIP, payment, snapshots) has
/// no action that it is.
const MIDP: &[(&str, &str)] = &[
    ("javax.microedition.io.Connector.http", "network.connect"),
    ("javax.microedition.io.Connector.https", "network.connect"),
    ("javax.microedition.io.Connector.socket", "network.connect"),
    ("javax.microedition.io.Connector.ssl", "network.connect"),
    ("javax.microedition.io.Connector.datagram", "network.datagram"),
    ("javax.microedition.io.Connector.datagramreceiver", "network.datagram"),
    ("javax.microedition.io.Connector.serversocket", "network.listen"),
    ("javax.microedition.io.PushRegistry", "network.listen"),
    ("javax.microedition.io.Connector.comm", "peripheral.serial"),
    ("javax.microedition.io.Connector.file.read", "user-data.read"),
    ("javax.microedition.io.Connector.file.write", "user-data.write"),
    ("javax.microedition.pim.ContactList.read", "user-data.read"),
    ("javax.microedition.pim.ContactList.write", "user-data.write"),
    ("javax.microedition.pim.EventList.read", "user-data.read"),
    ("javax.microedition.pim.EventList.write", "user-data.write"),
    ("javax.microedition.pim.ToDoList.read", "user-data.read"),
    ("javax.microedition.pim.ToDoList.write", "user-data.write"),
    ("javax.microedition.io.Connector.bluetooth.client", "peripheral.bluetooth"),
    ("javax.microedition.io.Connector.bluetooth.server", "peripheral.bluetooth"),
    ("javax.microedition.io.Connector.obex.client", "peripheral.bluetooth"),
    ("javax.microedition.io.Connector.obex.server", "peripheral.bluetooth"),
    ("javax.microedition.io.Connector.sms", "network.sms"),
    ("javax.microedition.io.Connector.cbs", "network.sms"),
    ("javax.microedition.io.Connector.mms", "network.sms"),
    ("javax.wireless.messaging.sms.send", "network.sms"),
    ("javax.wireless.messaging.sms.receive", "network.sms"),
    ("javax.wireless.messaging.cbs.receive", "network.sms"),
    ("javax.wireless.messaging.mms.send", "network.sms"),
    ("javax.wireless.messaging.mms.receive", "network.sms"),
    ("javax.microedition.media.control.RecordControl", "user-interface.microphone"),
    ("javax.microedition.apdu.aid", "smart-card.apdu"),
    ("javax.microedition.apdu.sat", "smart-card.apdu"),
    ("javax.microedition.jcrmi", "smart-card.apdu"),
    ("javax.microedition.content.ContentHandler", "application.invoke"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_of_the_table_is_an_action_of_a_group_that_exists() {
        for (permission, action) in MIDP {
            assert_eq!(own(action).map(|a| a.as_str().to_owned()).as_deref(), Some(*action), "{permission}");
            assert_eq!(MIDP.iter().filter(|(other, _)| other == permission).count(), 1, "{permission}");
        }
    }

    #[test]
    fn names_are_compared_with_their_case_and_whole() {
        assert!(midp("javax.microedition.io.Connector.HTTP").is_none());
        assert!(midp("javax.microedition.io.Connector").is_none());
        assert!(own("nowhere.connect").is_none() && own("network").is_none());
    }
}
