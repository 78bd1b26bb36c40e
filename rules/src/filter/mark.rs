//! What a condition looks at of the value it is given, so that the rest need not be kept.

use super::compile::Condition;
use crate::projection::Wanted;

impl Condition {
    /// Adds all that evaluation can look at.
    pub(crate) fn mark(&self, wanted: &mut Wanted) {
        match self {
            // Of anything but an object it only sees that the fields are not there.
            Self::Fields(fields) => {
                for (key, condition) in fields {
                    condition.mark(wanted.field(key));
                }
            }
            Self::AllOf(all) | Self::AnyOf(all) => {
                for condition in all {
                    condition.mark(wanted);
                }
            }
            Self::Not(condition) => condition.mark(wanted),
            Self::Exists(_) => {}
            Self::Equals(_)
            | Self::In(_)
            | Self::Contains(_)
            | Self::StartsWith(_)
            | Self::EndsWith(_)
            | Self::Matches(_)
            | Self::Compare(..) => wanted.add_whole(),
        }
    }
}
