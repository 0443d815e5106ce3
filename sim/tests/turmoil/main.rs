//! The adapter that ships, on turmoil: the very source of `runtime-tokio`, in virtual time, with
//! partitions, deaths and silences between real frames, handshakes and reconnects.

mod drawn;
mod farm;
mod shoppers;
mod stories;
mod under_load;
