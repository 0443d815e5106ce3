//! A seam for simulators: whoever judges a simulated farm is told of everything that a server's engine
//! is given, and when its actions are carried out. The adapter that ships has nobody to tell: there
//! this is of size zero and does nothing.

#[cfg(feature = "witness")]
mod told {
    use std::sync::Arc;

    use grapevine_core::{Config, Event, ServerId, Timestamp};

    /// What an engine is given: the same again, given to another engine, makes a twin of it.
    #[derive(Clone, Debug)]
    pub enum Witnessed {
        /// A process starts with a new engine.
        Starts {
            /// Whose it is, and its settings.
            config: Box<Config>,
            /// All its randomness.
            seed: [u8; 32],
            /// Its clock.
            now: Timestamp,
        },
        /// The engine gets an event.
        Handles {
            /// Its clock.
            now: Timestamp,
            /// The event.
            event: Box<Event>,
        },
        /// All that it wants done is done.
        CarriesOut,
    }

    /// Whom a server tells.
    #[derive(Clone)]
    pub struct Witness(Option<Arc<dyn Fn(ServerId, Witnessed) + Send + Sync>>);

    impl std::fmt::Debug for Witness {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple("Witness").field(&self.0.is_some()).finish()
        }
    }

    impl Witness {
        /// A witness that does this with all that it is told.
        pub fn new(tell: impl Fn(ServerId, Witnessed) + Send + Sync + 'static) -> Self {
            Self(Some(Arc::new(tell)))
        }

        /// Nobody is told.
        pub(crate) const fn nobody() -> Self {
            Self(None)
        }

        fn tell(&self, server: ServerId, what: impl FnOnce() -> Witnessed) {
            if let Some(tell) = &self.0 {
                tell(server, what());
            }
        }

        pub(crate) fn starts(&self, config: &Config, seed: [u8; 32], now: Timestamp) {
            let copy = || Box::new(config.clone());
            self.tell(config.server, || Witnessed::Starts { config: copy(), seed, now });
        }

        pub(crate) fn handles(&self, server: ServerId, now: Timestamp, event: &Event) {
            let copy = || Box::new(event.clone());
            self.tell(server, || Witnessed::Handles { now, event: copy() });
        }

        pub(crate) fn carries_out(&self, server: ServerId) {
            self.tell(server, || Witnessed::CarriesOut);
        }
    }
}

#[cfg(not(feature = "witness"))]
mod nobody {
    use grapevine_core::{Config, Event, ServerId, Timestamp};

    /// Nobody.
    #[derive(Clone, Debug)]
    pub(crate) struct Witness;

    impl Witness {
        pub(crate) const fn nobody() -> Self {
            Self
        }

        pub(crate) const fn starts(&self, _: &Config, _: [u8; 32], _: Timestamp) {}
        pub(crate) const fn handles(&self, _: ServerId, _: Timestamp, _: &Event) {}
        pub(crate) const fn carries_out(&self, _: ServerId) {}
    }
}

#[cfg(not(feature = "witness"))]
pub(crate) use nobody::Witness;
#[cfg(feature = "witness")]
pub use told::{Witness, Witnessed};
