//! All simulated providers under one clock: lives, callbacks and their retries, outages. Pure: time is an argument, what
//! must be sent is handed out, and what came of it is handed back.

use super::fourp::FourP;
use super::genpag::GenPag;
use super::gerencianet::Gerencianet;
use super::life::{Delivery, Life, Scene, Tempo, Trouble, Truth};
use super::persona::{Acknowledged, Happening, Outgoing, Persona, Request, Response, Subscribed};
use super::picpay::PicPay;
use super::yapay::Yapay;
use crate::domain::time::Time;
use std::collections::BTreeMap;

/// Pauses between retries double so often, then stay.
const RETRY_DOUBLINGS_MAX: u32 = 6;

pub struct World {
    personas: Vec<Box<dyn Persona>>,
    tempo: Tempo,
    agenda: BTreeMap<(Time, u64), Event>,
    scheduled: u64,
    under_way: usize,
    orders: BTreeMap<(&'static str, String), Ordered>,
    troubles: BTreeMap<&'static str, (Trouble, Time)>,
}

/// A payment that was made here.
#[derive(Clone, Debug)]
pub struct Ordered {
    pub provider: &'static str,
    pub reference: String,
    /// The provider's own name of it.
    pub provider_ref: String,
    pub life: Life,
    pub truth: Truth,
}

/// A callback that has to be sent.
#[derive(Clone, Debug)]
pub struct Post {
    pub provider: &'static str,
    pub outgoing: Outgoing,
    pub reference: String,
    attempt: u32,
    first_sent: Time,
}

#[derive(Clone, Debug)]
enum Event {
    Happen { provider: &'static str, reference: String, what: Happening, delivery: Delivery },
    Send(Post),
}

/// A life cannot begin.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unplayable {
    #[error("no such provider; known are {0}")]
    Provider(String),
    #[error("{provider} has no words for the life {life}")]
    Life { provider: &'static str, life: &'static str },
    #[error("there is a payment with that reference")]
    Taken,
}

impl World {
    pub fn new(tempo: Tempo) -> World {
        World {
            personas: vec![
                Box::new(PicPay::default()),
                Box::new(Gerencianet::default()),
                Box::new(Yapay::default()),
                Box::new(GenPag::default()),
                Box::new(FourP::default()),
            ],
            tempo,
            agenda: BTreeMap::new(),
            scheduled: 0,
            under_way: 0,
            orders: BTreeMap::new(),
            troubles: BTreeMap::new(),
        }
    }

    pub fn personas(&self) -> impl Iterator<Item = &dyn Persona> {
        self.personas.iter().map(|persona| &**persona)
    }

    fn persona(&mut self, provider: &str) -> Option<&mut Box<dyn Persona>> {
        self.personas.iter_mut().find(|persona| persona.provider() == provider)
    }

    /// Makes a payment that will live so. Answers what the merchant learns of it.
    pub fn begin(
        &mut self,
        provider: &str,
        life: Life,
        reference: &str,
        cents: i64,
        now: Time,
    ) -> Result<Ordered, Unplayable> {
        self.play(provider, life, life.scenes(cents), reference, cents, now)
    }

    /// [`World::begin`] with scenes of the caller's own; what the provider has no words for is left out of them.
    pub fn play(
        &mut self,
        provider: &str,
        life: Life,
        scenes: Vec<Scene>,
        reference: &str,
        cents: i64,
        now: Time,
    ) -> Result<Ordered, Unplayable> {
        let known = self.personas().map(|persona| persona.provider()).collect::<Vec<_>>().join(", ");
        let persona = self.persona(provider).ok_or(Unplayable::Provider(known))?;
        let provider = persona.provider();
        if !persona.plays(life) {
            return Err(Unplayable::Life { provider, life: life.as_str() });
        }
        let scenes: Vec<_> = scenes.into_iter().filter(|scene| persona.speaks_of(scene.what)).collect();
        let key = (provider, reference.to_owned());
        if self.orders.contains_key(&key) {
            return Err(Unplayable::Taken);
        }
        let provider_ref =
            self.persona(provider).map(|it| it.create(reference, cents, now)).unwrap_or_default();
        if let Some(trouble) = life.trouble() {
            self.troubles.insert(provider, (trouble, now.plus(self.tempo.trouble)));
        }
        let mut at = now;
        for scene in scenes {
            at = at.plus(self.tempo.beat * scene.after);
            let reference = reference.to_owned();
            self.schedule(
                at,
                Event::Happen { provider, reference, what: scene.what, delivery: scene.delivery },
            );
        }
        let (truth, reference) = (Truth::new(cents), reference.to_owned());
        let ordered = Ordered { provider, reference, provider_ref, life, truth };
        self.orders.insert(key, ordered.clone());
        Ok(ordered)
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled), event);
    }

    /// Lets happen what is due, and hands out the callbacks to send now. Each is handed back by [`World::sent`].
    pub fn step(&mut self, now: Time) -> Vec<Post> {
        let mut posts = Vec::new();
        while let Some(event) =
            self.agenda.first_entry().filter(|event| event.key().0 <= now).map(|event| event.remove())
        {
            match event {
                Event::Happen { provider, reference, what, delivery } => {
                    self.happen(provider, &reference, what, delivery, now);
                }
                Event::Send(post) if self.was_asked(&post) => {}
                Event::Send(post) => posts.push(post),
            }
        }
        self.under_way += posts.len();
        posts
    }

    fn happen(
        &mut self,
        provider: &'static str,
        reference: &str,
        what: Happening,
        delivery: Delivery,
        now: Time,
    ) {
        if let Some(ordered) = self.orders.get_mut(&(provider, reference.to_owned())) {
            ordered.truth = ordered.truth.after(what);
        }
        let Some(persona) = self.persona(provider) else { return };
        persona.happen(reference, what, now);
        let outgoing = persona.callback(reference, now);
        let post = Post { provider, outgoing, reference: reference.to_owned(), attempt: 0, first_sent: now };
        let (count, at) = match delivery {
            Delivery::Plain => (1, now),
            Delivery::Twice => (2, now),
            Delivery::Together => (3, now),
            Delivery::Held(beats) => (1, now.plus(self.tempo.beat * beats)),
        };
        (0..count).for_each(|_| self.schedule(at, Event::Send(post.clone())));
    }

    /// Whether a callback that was sent before has been asked about since.
    fn was_asked(&mut self, post: &Post) -> bool {
        let by_query = |persona: &mut Box<dyn Persona>| {
            persona.acknowledged() == Acknowledged::ByQuery
                && persona.was_asked(&post.reference, post.first_sent)
        };
        post.attempt > 0 && self.persona(post.provider).is_some_and(by_query)
    }

    /// Where a callback goes by what was registered at its provider.
    pub fn subscribed(&mut self, post: &Post) -> Vec<Subscribed> {
        self.persona(post.provider).map(|persona| persona.subscribed(&post.outgoing)).unwrap_or_default()
    }

    /// What one address answered, for the provider's own account of it.
    pub fn delivered(&mut self, post: &Post, target: &str, status: Option<u16>, now: Time) {
        if let Some(persona) = self.persona(post.provider) {
            persona.delivered(&post.outgoing, target, status, now);
        }
    }

    /// What a callback was answered; `None`: nothing came back. It is sent again until it counts as delivered.
    pub fn sent(&mut self, post: Post, status: Option<u16>, now: Time) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(persona) = self.persona(post.provider) else { return };
        let delivered = match persona.acknowledged() {
            Acknowledged::By200 => status == Some(200),
            Acknowledged::By2xx => status.is_some_and(|status| (200..300).contains(&status)),
            Acknowledged::ByQuery => false,
        };
        if !delivered && post.attempt < self.tempo.retries_max {
            let pause = self.tempo.retry * 2u32.pow(post.attempt.min(RETRY_DOUBLINGS_MAX));
            self.schedule(now.plus(pause), Event::Send(Post { attempt: post.attempt + 1, ..post }));
        }
    }

    /// A provider's API, as it is at the moment.
    pub fn answer(&mut self, provider: &str, request: &Request, now: Time) -> Response {
        let trouble =
            self.troubles.get(provider).filter(|(_, until)| now < *until).map(|(trouble, _)| *trouble);
        match trouble {
            Some(Trouble::Down) => Response::json(503, r#"{"message":"unavailable"}"#),
            Some(Trouble::TooFast) => {
                Response { retry_after: Some(1), ..Response::json(429, r#"{"message":"too many requests"}"#) }
            }
            None => match self.persona(provider) {
                Some(persona) => persona.answer(request, now),
                None => Response::json(404, r#"{"message":"no such provider"}"#),
            },
        }
    }

    /// When something is due.
    pub fn due(&self) -> Option<Time> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// Whether nothing more will happen, and every callback was delivered or given up.
    pub fn is_over(&self) -> bool {
        self.agenda.is_empty() && self.under_way == 0
    }

    /// Whether nothing more will happen, however many callbacks are still on their way.
    pub fn has_happened(&self) -> bool {
        !self.agenda.values().any(|event| matches!(event, Event::Happen { .. }))
    }

    /// What is true of every payment now.
    pub fn orders(&self) -> impl Iterator<Item = &Ordered> {
        self.orders.values()
    }
}
