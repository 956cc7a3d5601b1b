//! Requests with an Idempotency-Key: claimed, answered, forgotten.

use super::books::Group;
use super::command::{Fault, Refusal, Reply};
use super::reader::Reader;
use crate::domain::ids::Nonce;
use crate::domain::time::Time;
use crate::store::idempotency::{self, Answer, Claimed, RequestKey};
use crate::store::meta::StoreError;
use std::time::Duration;

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// A request that is about to be carried out.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub key: RequestKey,
    /// A digest of what it asks for.
    pub fingerprint: [u8; 32],
    /// What its makings are named by, unless it was claimed before.
    pub nonce: Nonce,
}

/// What a claim comes to.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It has to be carried out; what it makes goes by this.
    Granted(Nonce),
    /// It was carried out before.
    Answered(Answer),
}

/// What a claimed request is answered.
#[derive(Clone, Debug)]
pub struct KeepAnswer {
    pub key: RequestKey,
    pub answer: Answer,
}

impl Group<'_> {
    pub(super) fn claim_request(&mut self, request: &ClaimRequest) -> Result<Reply, Fault> {
        let known = idempotency::get(&self.read(), &request.key)?;
        if let Some(claimed) = &known
            && claimed.expires_at > self.now
        {
            if claimed.fingerprint != request.fingerprint {
                return Err(Refusal::KeyReused.into());
            }
            let head = claimed.answer.as_ref();
            let answer =
                head.map(|head| idempotency::answer(&self.read(), &request.key, head)).transpose()?;
            return Ok(Reply::Claimed(match answer.flatten() {
                Some(answer) => Claim::Answered(answer),
                None => Claim::Granted(claimed.nonce),
            }));
        }
        if let Some(expired) = &known {
            idempotency::delete(&mut self.batch, &request.key, expired);
        }
        let claimed = Claimed {
            fingerprint: request.fingerprint,
            nonce: request.nonce,
            expires_at: self.now.plus(KEPT_FOR),
            answer: None,
        };
        idempotency::put(&mut self.batch, &request.key, &claimed)?;
        Ok(Reply::Claimed(Claim::Granted(request.nonce)))
    }

    pub(super) fn keep_answer(&mut self, keep: &KeepAnswer) -> Result<Reply, Fault> {
        if let Some(claimed) = idempotency::get(&self.read(), &keep.key)?
            && claimed.answer.is_none()
        {
            idempotency::put_answer(&mut self.batch, &keep.key, claimed, &keep.answer)?;
        }
        Ok(Reply::Noted)
    }

    pub(super) fn forget_requests(&mut self, requests: &[RequestKey]) -> Result<Reply, Fault> {
        for key in requests {
            if let Some(claimed) = idempotency::get(&self.read(), key)?
                && (claimed.answer.is_none() || claimed.expires_at <= self.now)
            {
                idempotency::delete(&mut self.batch, key, &claimed);
            }
        }
        Ok(Reply::Noted)
    }
}

impl Reader {
    /// Requests that have expired by `now`, at most `limit` of them.
    pub fn expired_requests(&self, now: Time, limit: usize) -> Result<Vec<RequestKey>, StoreError> {
        idempotency::expired(self.engine(), now).take(limit).collect()
    }
}
