//! Drives an engine without `std`. Never run: that it builds is the proof.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};

use grapevine_core::{Config, Engine, Event, Farm, ServerId, Timestamp, wire};

// Built as an embedder builds it, the engine carries nothing of the simulator's rare choices.
const _: () = assert!(grapevine_core::rare::HANDLE_BYTES == 0);

struct NoMemory;

// The one place in the project with `unsafe`: an allocator can't be declared without.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Reaches the parts of core that a runtime reaches.
pub fn drive(bytes: &[u8]) -> usize {
    let now = Timestamp::from_millis(1);
    let farm = Farm::default();
    let server = ServerId::new(1, now);
    let command = wire::decode(bytes, &farm);
    let Ok(mut engine) = Engine::new(Config::new(server, farm), [0; 32], now) else { return 0 };
    if let Ok(command) = command {
        engine.handle(now, Event::Command { from: ServerId::new(2, now), command });
    }
    core::iter::from_fn(|| engine.poll_action()).count()
}
