//! Names of enum variants on the wire and on the command line.

use strum::VariantNames;

/// Returns the error for a name that `T` does not have: the field, the value and all names of `T`.
pub(crate) fn unknown_name<T: VariantNames>(field: &str, value: &str) -> String {
    format!("{field} is {value}, but it must be one of {}", T::VARIANTS.join(", "))
}
