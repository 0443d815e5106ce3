//! Model checking: the real engine in a farm of two or three, through everything that can happen to it
//! within stated bounds, in every order.
//!
//! A state of the model is the farm's: every engine with all that its behaviour depends on, every
//! message under way, what every customer carries and knows. `docs/testing.md` has what is bounded and
//! how many states there are. `GRAPEVINE_MODEL=long` searches further.

mod engines;
mod farm;
mod healing;
mod properties;
mod script;
mod tests;
