//! Time in UTC milliseconds, as the database stores it.

use std::time::Duration;

use jiff::Timestamp;

/// Returns the current time in UTC milliseconds.
pub fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Returns `duration` in milliseconds, at most `i64::MAX`.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the time `duration` from now.
pub(crate) fn after(duration: Duration) -> i64 {
    now().saturating_add(millis(duration))
}

/// Returns the time `duration` ago.
pub(crate) fn before(duration: Duration) -> i64 {
    now().saturating_sub(millis(duration))
}
