//! Revocation lists that one store has read, for the next one: a large list takes a while to read, and none to share.

use std::sync::Arc;

use crate::algorithm::sha256;
use crate::revocation::RevocationList;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct ReadLists(pub(super) Vec<Arc<RevocationList>>);

impl ReadLists {
    /// The list of these bytes, if it was read from the same place.
    pub(super) fn get(&self, source: &str, der: &[u8]) -> Option<Arc<RevocationList>> {
        let sha256 = sha256(der);
        self.0.iter().find(|list| list.facts.sha256 == sha256 && list.facts.source == source).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use mexe_forge::pki::{Authority, ListShape, Shape};
    use mexe_model::WallTime;

    use super::*;
    use crate::TrustStore;

    const AT: WallTime = WallTime::from_secs(1_795_489_491);

    #[test]
    fn a_list_is_read_once_for_all_stores_and_anew_when_it_is_another() {
        let root = Authority::root("Root", &Shape::at(AT)).unwrap();
        let list = |number| root.list(&ListShape { number, ..ListShape::at(AT) }).unwrap();
        let store = |source: &str, der: &[u8], before: ReadLists| {
            let mut builder = TrustStore::builder();
            builder.read_before(before);
            builder.add_list(source, der)[0].as_ref().unwrap();
            builder.build()
        };
        let (one, two) = (list(1), list(2));
        let first = store("one.crl", &one, ReadLists::default());
        let shared = |store: &TrustStore| Arc::ptr_eq(&store.read_lists().0[0], &first.read_lists().0[0]);
        assert!(shared(&store("one.crl", &one, first.read_lists())));
        assert!(!shared(&store("one.crl", &two, first.read_lists())));
        assert!(!shared(&store("other.crl", &one, first.read_lists())), "its facts name the place");
    }
}
