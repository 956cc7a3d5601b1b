//! The laws of the ledger, each shown over everything that could break it. No sockets here.

// `cfg(test)` so that clippy.toml's leave to unwrap in tests covers the helpers beside them too.
#[cfg(test)]
mod as_of;
#[cfg(test)]
mod backed_up;
#[cfg(test)]
mod books;
#[cfg(test)]
mod chained;
#[cfg(test)]
mod convergent;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod deterministic;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod durable;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod fold;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod journaled;
#[cfg(test)]
#[path = "../it/support/journals.rs"]
mod journals;
#[cfg(test)]
mod migrated;
#[cfg(test)]
mod periods;
#[cfg(test)]
mod private;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod reconciled;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod settlements;
#[cfg(test)]
mod shaped;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod stable;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod vault;
