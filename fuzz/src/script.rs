//! A sequence of steps as bytes: what the fuzzer makes up. Any bytes are a script.

use grapevine_core::{Change, Key, ServerId, Timestamp, Value};

/// One step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Time passes, in milliseconds.
    Wait(u16),
    /// A peer sends these bytes.
    Command(ServerId, &'a [u8]),
    /// The same, but an answer is made to fit what was asked last, as far as that goes.
    Fitting(ServerId, &'a [u8]),
    /// A link came up.
    Up(ServerId),
    /// A link went down.
    Down(ServerId),
    /// The application asks for something.
    Ask(Ask),
}

/// A request, with what distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which request.
    pub kind: u8,
    /// Which of the tokens that were given out.
    pub token: u8,
    /// Whom to wait for.
    pub acks: u8,
    /// Which attribute.
    pub key: u8,
    /// Which number.
    pub amount: u8,
}

impl Ask {
    fn key(self) -> Key {
        let keys = ["cart/sku-1", "cart/sku-2", "user", "a", "b", "c", "d", "e", "f"];
        Key::new(keys[usize::from(self.key) % keys.len()]).expect("these are keys")
    }

    fn value(self) -> Value {
        if self.amount >= 128 {
            Value::new(&vec![b'x'; usize::from(self.amount - 128) * 3])
        } else {
            Value::from(self.amount.to_string().as_str())
        }
    }

    /// Attributes for a create or a replacement.
    pub fn pairs(self) -> Vec<(Key, Value)> {
        vec![(self.key(), self.value())]
    }

    /// Changes for an update.
    pub fn changes(self) -> Vec<Change> {
        vec![match self.amount % 4 {
            0 => Change::Remove(self.key()),
            1 => Change::Set(self.key(), self.value()),
            _ => Change::Add(self.key(), i64::from(self.amount) - 64),
        }]
    }
}

/// Processes of the farm under fuzzing, and one that is not of it. Server 1 at boot 2 is the one
/// under test.
fn server(byte: u8) -> ServerId {
    let (number, boot) = (u16::from(byte % 4) + 1, u64::from(byte / 4 % 3) + 1);
    ServerId::new(number, Timestamp::from_millis(boot))
}

/// The byte that [`steps`] reads as this server, if there is one.
pub fn server_byte(of: ServerId) -> u8 {
    (0..12).find(|&byte| server(byte) == of).unwrap_or(1)
}

/// The steps that these bytes stand for.
pub fn steps(mut data: &[u8]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    while let Some(step) = next(&mut data) {
        steps.push(step);
    }
    steps
}

fn next<'a>(data: &mut &'a [u8]) -> Option<Step<'a>> {
    let kind = take(data, 1)?[0];
    Some(match kind % 8 {
        0 => {
            let bytes = take(data, 2)?;
            Step::Wait(u16::from_le_bytes([bytes[0], bytes[1]]))
        }
        1..=4 => {
            let head = take(data, 3)?;
            let length = usize::from(u16::from_le_bytes([head[1], head[2]])).min(data.len());
            let (from, bytes) = (server(head[0]), take(data, length)?);
            if kind % 8 > 2 { Step::Fitting(from, bytes) } else { Step::Command(from, bytes) }
        }
        5 => Step::Up(server(take(data, 1)?[0])),
        6 => Step::Down(server(take(data, 1)?[0])),
        _ => {
            let [kind, token, acks, key, amount] = *take(data, 5)? else { return None };
            Step::Ask(Ask { kind, token, acks, key, amount })
        }
    })
}

fn take<'a>(data: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = data.split_at_checked(count)?;
    *data = rest;
    Some(head)
}

/// The bytes of a script: the inverse of [`steps`].
pub fn to_bytes(steps: &[Step<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for step in steps {
        match *step {
            Step::Wait(millis) => {
                out.push(0);
                out.extend(millis.to_le_bytes());
            }
            Step::Command(from, bytes) | Step::Fitting(from, bytes) => {
                let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                let kind = if matches!(step, Step::Fitting(..)) { 3 } else { 1 };
                out.extend([kind, server_byte(from)]);
                out.extend(length.to_le_bytes());
                out.extend(&bytes[..usize::from(length)]);
            }
            Step::Up(server) => out.extend([5, server_byte(server)]),
            Step::Down(server) => out.extend([6, server_byte(server)]),
            Step::Ask(ask) => out.extend([7, ask.kind, ask.token, ask.acks, ask.key, ask.amount]),
        }
    }
    out
}
