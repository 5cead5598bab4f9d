//! Whose each grant is, by its id. In parts that the policies before and after a change share, so that a change copies
//! those that it concerns and not the thousands of others. Part of [`crate::policy`].

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use mexe_model::{AppId, GrantId};

/// With 10,000 grants, a part has 40.
const PARTS: u64 = 256;

type Part = HashMap<GrantId, AppId, RandomState>;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Owners(Vec<Arc<Part>>);

impl Default for Owners {
    fn default() -> Self {
        Self((0..PARTS).map(|_| Arc::default()).collect())
    }
}

impl Owners {
    /// Whose the grant is.
    pub(crate) fn of(&self, id: GrantId) -> Option<&AppId> {
        self.0.get(place(id))?.get(&id)
    }

    /// After an app's grants changed; both lists by id.
    pub(crate) fn change(&mut self, app: &AppId, before: &[GrantId], after: &[GrantId]) {
        for id in before.iter().filter(|id| after.binary_search(id).is_err()) {
            // An id that another app took over stays there.
            if self.of(*id) == Some(app) {
                self.part(*id).map(|part| part.remove(id));
            }
        }
        for id in after.iter().filter(|id| before.binary_search(id).is_err()) {
            self.part(*id).map(|part| part.insert(*id, app.clone()));
        }
    }

    fn part(&mut self, id: GrantId) -> Option<&mut Part> {
        self.0.get_mut(place(id)).map(Arc::make_mut)
    }
}

/// Ids are counted up: neighbours go to different parts.
fn place(id: GrantId) -> usize {
    usize::try_from(id.0 % PARTS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<GrantId> {
        ids.into_iter().map(GrantId).collect()
    }

    fn owner(owners: &Owners, id: u64) -> Option<&str> {
        owners.of(GrantId(id)).map(AppId::as_str)
    }

    #[test]
    fn a_change_concerns_what_came_and_went_and_no_copy() {
        let (one, two): (AppId, AppId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let mut owners = Owners::default();
        owners.change(&one, &[], &ids([1, 2, 257, 900]));
        owners.change(&two, &[], &ids([3, 4]));
        let before = owners.clone();
        owners.change(&one, &ids([1, 2, 257, 900]), &ids([2, 5, 900]));
        let now = [1, 2, 257, 900, 5, 3].map(|id| owner(&owners, id));
        assert_eq!(now, [None, Some("one"), None, Some("one"), Some("one"), Some("two")]);
        assert_eq!((owner(&before, 257), owner(&before, 5)), (Some("one"), None));
        owners.change(&two, &ids([3, 4]), &[]);
        assert_eq!((owner(&owners, 3), owner(&owners, 2)), (None, Some("one")));
    }

    #[test]
    fn an_id_that_another_app_took_over_stays_there() {
        let (one, two): (AppId, AppId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let mut owners = Owners::default();
        owners.change(&one, &[], &ids([7]));
        owners.change(&two, &[], &ids([7]));
        owners.change(&one, &ids([7]), &[]);
        assert_eq!(owner(&owners, 7), Some("two"));
    }

    #[test]
    fn a_change_copies_only_the_parts_that_it_concerns() {
        let app: AppId = "one".parse().unwrap();
        let mut owners = Owners::default();
        owners.change(&app, &[], &ids(1..=10_000));
        let before = owners.clone();
        owners.change(&app, &ids(1..=10_000), &ids(1..=10_001));
        let shared = before.0.iter().zip(&owners.0).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, 255);
    }
}
