//! The adapter that ships, on turmoil: the very source of `runtime-tokio`, in virtual time, with
//! partitions, deaths and silences between real frames, handshakes and reconnects.

#[path = "../simulated/drawn.rs"]
mod drawn;
#[path = "../simulated/farm.rs"]
mod farm;
mod net;
#[path = "../simulated/shoppers.rs"]
mod shoppers;
#[path = "../simulated/stories.rs"]
mod stories;
#[path = "../simulated/under_load.rs"]
mod under_load;
