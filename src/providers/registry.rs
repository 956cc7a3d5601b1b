//! The providers, one line each. The only file that names them all.

use super::fourp::FourP;
use super::genpag::GenPag;
use super::gerencianet::Gerencianet;
use super::picpay::PicPay;
use super::provider::Provider;
use super::yapay::Yapay;

pub static PROVIDERS: &[&dyn Provider] = &[&PicPay, &Gerencianet, &Yapay, &GenPag, &FourP];

/// The provider that configuration calls `id`.
pub fn find(id: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.spec().id == id)
}
