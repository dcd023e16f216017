//! Webhook calls, which are due at the end of a task until they succeed.

use std::time::Duration;

use crate::clock::after;
use crate::submission::DueWebhook;
use crate::{Store, StoreError};

impl Store {
    /// Leases the longest overdue webhook call to the caller for `lease`; `None` if no call is due. Calls whose URL begins
    /// with an element of `busy` are left out. A call that is not reported by [`Store::webhook_called`] in that time is
    /// due again.
    ///
    /// A call becomes due at the end of its task, for which [`crate::Changes::queue`] returns.
    pub async fn claim_webhook(&self, lease: Duration, busy: &[String]) -> Result<Option<DueWebhook>, StoreError> {
        self.shared.database.claim_webhook(lease, busy).await
    }

    /// Reports a call. It is due again after `retry_after`, or never.
    pub async fn webhook_called(&self, call: &DueWebhook, retry_after: Option<Duration>) -> Result<(), StoreError> {
        self.shared.database.webhook_called(call, retry_after.map(after)).await
    }
}
