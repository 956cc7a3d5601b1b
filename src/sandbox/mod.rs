//! The other side: the providers' APIs and callbacks, simulated from what is known of the real ones and never from our
//! adapters, which it must be able to prove wrong. Only `server` does I/O.

mod fourp;
mod genpag;
mod gerencianet;
pub mod life;
mod made;
pub mod persona;
mod picpay;
pub mod server;
pub mod world;
mod yapay;
