//! Rare choices and rare paths, by name, for the simulator.
//!
//! A [`Point`] is a place where the engine may choose, within what the protocol allows, and as a
//! rule chooses the same. A [`Mark`] is a path that is seldom taken. With the feature `rare`, which
//! only the simulator turns on, a plan has an engine take the other choice at some points now and
//! then, and every engine counts the marks that it passes. Without a plan no point ever fires, so
//! nothing behaves otherwise because the feature is on; without the feature all of it is empty and
//! takes no memory ([`HANDLE_BYTES`]).
//!
//! To add a mark: a variant with its sentence below, `self.rare.mark(Mark::Variant)` where the path
//! is taken, and the row of `docs/rare.md` that its test asks for. To add a point: a variant, and
//! `if self.rare.force(Point::Variant)` before the choice; every choice must be one that a correct
//! farm survives with all of its guarantees.

#[cfg(not(feature = "rare"))]
mod off;
#[cfg(feature = "rare")]
mod on;

#[cfg(not(feature = "rare"))]
pub(crate) use off::Rare;
#[cfg(feature = "rare")]
pub(crate) use on::Rare;
#[cfg(feature = "rare")]
pub use on::{Plan, Tally};

/// What an engine carries for this, in bytes: nothing, without the feature `rare`.
pub const HANDLE_BYTES: usize = size_of::<Rare>();

/// An enum of named things, each with a sentence.
#[macro_export]
#[doc(hidden)]
macro_rules! rare_names {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[doc = $doc])+ $variant,)* }

        impl $name {
            /// All of them, in order.
            $vis const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, in lower case, with `_` between words.
            $vis fn name(self) -> $crate::rare::Name {
                match self { $(Self::$variant => $crate::rare::snake(stringify!($variant)),)* }
            }

            /// What it is, in a sentence.
            $vis const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

/// What names are given as.
pub type Name = alloc::string::String;

/// `SlotReused` → `slot_reused`.
#[doc(hidden)]
pub fn snake(variant: &str) -> Name {
    let mut name = Name::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

rare_names! {
    /// A choice that the engine may be made to take otherwise than usual.
    pub enum Point {
        /// A write gives up waiting for acknowledgements at once.
        AckWaitTiny,
        /// An acknowledgement is not sent; heartbeats will say it.
        AckSkipped,
        /// A batch is acknowledged at once and alone, besides the usual acknowledgement.
        AckAtOnce,
        /// A batch asks for acknowledgements though no write waits.
        AckAsked,
        /// A heartbeat is not sent.
        HeartbeatSkipped,
        /// A heartbeat is sent twice.
        HeartbeatRepeated,
        /// A heartbeat is sent before its time.
        HeartbeatEarly,
        /// Members, waiting writes, look-ups and leaving are reviewed, though nothing is due.
        ReviewEarly,
        /// Everybody is asked for a heartbeat, for no reason.
        HeartbeatsAsked,
        /// A request for a heartbeat is not answered, as if it had been lost.
        HeartbeatRequestIgnored,
        /// A starting process's question is not answered, as if it had been lost.
        StartingIgnored,
        /// A server is taken for suspect, though it was not silent for long.
        SuspectEarly,
        /// Joining does not end yet, though it could.
        JoinedLate,
        /// A leaving server does not wait for the others.
        LeaveAtOnce,
        /// A session that could be served at once is asked for all the same.
        QueryUnneeded,
        /// A query goes to everybody, not first to those that are known to have the session.
        QueryAll,
        /// A query is not answered, as if it had been lost.
        QueryIgnored,
        /// A look-up has almost no time for answers.
        LookupWaitTiny,
        /// A small copy is offered, not sent.
        OfferSmall,
        /// A large copy is sent, not offered.
        AnswerLarge,
        /// An answer goes to all that lack what it shows.
        AnswerAll,
        /// An offer is not taken up at once.
        FetchLate,
        /// Idle expiry that is certain is asked about all the same.
        ExpiryDoubted,
        /// Any server that is certain ends an idle session, not one alone.
        IdleEndedAnywhere,
        /// Copies are looked at for expiry before their time.
        SweepEarly,
        /// One copy at a time is looked at for expiry.
        SweepOne,
        /// A copy past its deadline is kept a little longer.
        DropLate,
        /// The whole context stays in the token, though every server has it.
        ContextKept,
        /// A batch takes one write.
        BatchOfOne,
        /// The writes of a batch are merged in reverse order.
        BatchReversed,
        /// Everything that arrives is merged twice.
        MergeTwice,
        /// The counter of the stamp's millisecond is used up, so the next stamp is of the next one.
        StampCarry,
        /// A new session takes a slot that was never used, though an earlier one is free again.
        SlotFresh,
        /// A repair starts without waiting for what may be on its way.
        RepairAtOnce,
        /// A repair starts long after the gap was seen.
        RepairLate,
        /// A repair asks any server that is ahead, not the writer.
        HolderAny,
        /// A repair's base is nothing: everything is sent again.
        BaseNothing,
        /// A joining server shares even a short round out among all that can take part.
        ShortRoundShared,
        /// A part of a repair has room for one session.
        PullOne,
        /// A holder looks at one entry for a part of a repair.
        WalkOne,
        /// A part of a repair is not answered, as if it had been lost.
        PullIgnored,
        /// A round is broken off after a part that was good.
        RoundBroken,
        /// A round gives its holder almost no time.
        RoundTimeoutTiny,
        /// Batches from beyond a gap are not noted: a repair brings them again.
        RunForgotten,
        /// Sessions that show writes of one who is gone wait long before they are published again.
        AgainLate,
        /// One session at a time is published again.
        AgainOne,
        /// One session at a time is compared with another server's.
        VerifyOne,
        /// A question about a range is not answered, as if it had been lost.
        VerifyIgnored,
    }
}

rare_names! {
    /// Damage that a server's memory may be made to take: see `Engine::damage`.
    pub enum Memory {
        /// A whole copy is gone.
        LostCopy,
        /// One attribute of a copy is gone.
        LostAttribute,
        /// A bit of an attribute's value is another one, at the same version.
        FlippedValue,
        /// What one server added to a counter is gone.
        LostAdd,
    }
}

rare_names! {
    /// A path that is seldom taken.
    pub enum Mark {
        /// An acknowledgement came as an `Ack`.
        AckedByAck,
        /// An acknowledgement came with a heartbeat.
        AckedByHeartbeat,
        /// An acknowledgement came with a pull.
        AckedByPull,
        /// An acknowledgement stops before a write whose session is held only in part.
        AckStopsAtPartial,
        /// A write was not acknowledged by enough servers in time.
        NotReplicatedInTime,
        /// There was no room for a write to wait for acknowledgements.
        NoRoomToWait,
        /// Everything that waited was answered because the server leaves.
        WaitingEndedByLeave,
        /// A gap was closed by a repair from its writer.
        GapRepairedFromWriter,
        /// A gap was closed by a repair from a server other than the writer.
        GapRepairedFromThirdServer,
        /// The entry moved on over batches from beyond a closed gap.
        RunBeyondGapJoined,
        /// A second gap cut the run of batches beyond the first.
        RunCutByAnotherGap,
        /// A batch came that was applied already.
        BatchRepeated,
        /// A tombstone was merged where no copy was.
        TombstoneMergedBeforeCreate,
        /// An update was merged where no copy was: the copy is partial.
        UpdateMergedBeforeCreate,
        /// A partial copy was completed by its create in a batch.
        PartialCopyCompletedByBatch,
        /// A partial copy was completed by a repair.
        PartialCopyCompletedByRepair,
        /// A partial copy was completed by an answer to a query.
        PartialCopyCompletedByAnswer,
        /// A slot was given to a new session again.
        SlotReused,
        /// A later session took the slot of an earlier one's copy.
        SupersededCopyReplaced,
        /// An earlier session came for a slot that a later one has, or that its origin has free again.
        SupersededSessionIgnored,
        /// A session past its deadline was not stored.
        ExpiredSessionIgnored,
        /// Two counters that different servers began met in one.
        CounterMetAfterConcurrentFirstAdds,
        /// A counter won over the register or floor that it was made from.
        CounterWonAtEqualVersions,
        /// Two writes of one stamp met, and the server's number decided.
        EqualStampTie,
        /// Two servers had written one register at once.
        ConcurrentSetsMet,
        /// A replacement swept away a change that its writer had not seen.
        ReplaceSweptConcurrentChange,
        /// A change made while another server replaced everything survived.
        ChangeSurvivedConcurrentReplace,
        /// A removal met an add that its writer had not seen, or the add the removal.
        RemovalMetConcurrentAdd,
        /// Two servers had ended one session at once.
        ConcurrentDeletesMet,
        /// A write met a tombstone that its writer had not seen.
        WriteMetTombstone,
        /// A copy that looked idle turned out to be in use elsewhere.
        IdleCopyWasInUse,
        /// A round was cut into parts.
        RoundCutIntoParts,
        /// A round was broken off.
        RoundBrokenOff,
        /// A part of a round was asked for again, from the same holder.
        PartAskedAgain,
        /// Several holders were asked at once, each for its share of the sessions.
        RoundShared,
        /// A share was asked of another holder, for the first one was too slow.
        ShareTakenOver,
        /// A round started again with another holder after one broke.
        RoundRestarted,
        /// A part of a repair came too late, or twice.
        DeltaLate,
        /// A repair began from nothing.
        PulledFromNothing,
        /// A repair's holder was joining itself.
        PulledFromJoiningServer,
        /// A holder sent a copy that shows more than the holder has applied.
        SentBeyondOwnApplied,
        /// A holder left a session out that the round had sent already.
        SentBeforeInThisRound,
        /// A holder had applied more when a list ended than when it began.
        ClaimFromStartOfList,
        /// A part of a repair was refused for a stamp too far ahead.
        DeltaRefusedAsSkewed,
        /// A server whose stamps were too far ahead is taken in again.
        SkewedServerTakenAgain,
        /// This server's own clock is off the majority's.
        OwnClockOff,
        /// The clock stepped ahead further than silences are measured by.
        ClockSteppedAhead,
        /// A session was served as lost in part.
        LostPartLeftOut,
        /// A session was served as stale.
        StaleServed,
        /// A request was served by the vectors of servers that answered.
        ServedByJoinedVectors,
        /// An offered copy came.
        OfferFetched,
        /// A joining server answered a query with a copy.
        QueryAnsweredByJoiningServer,
        /// A server that holds the session only in part answered a query.
        QueryAnsweredByPartialHolder,
        /// A joining server served after a server that had joined answered, or all that join.
        JoiningServerConfirmed,
        /// A session is lost: every server lacks it.
        LostAsAllLackIt,
        /// A session is lost: its origin is gone, and the others lack it.
        LostWithItsOrigin,
        /// A look-up got too few answers in time.
        LookupGivenUp,
        /// An answer came that nobody waited for any more.
        AnswerLate,
        /// A token had a stamp too far ahead of this server's clock.
        TokenFromTheFuture,
        /// A copy looked idle, and others had to be asked.
        ExpiryAsked,
        /// All others answered, and none had used the idle session.
        ExpiryConfirmedByAll,
        /// A copy looked idle, and its end was certain here.
        ExpiryCertain,
        /// An application was told that a session's deadline has passed.
        DeadlineTold,
        /// A copy was kept past its deadline until a majority's clocks had passed it.
        DropWaitedForMajority,
        /// An entry was dropped from a token: every server has it.
        ContextEntryDropped,
        /// The context stayed in the token because a server was down or unknown.
        ContextCarriedForDownServer,
        /// A starting process was told of one of its number with an equal or later boot.
        BootKnownLater,
        /// A starting process was told that its number is in use.
        NumberInUse,
        /// A process started without the word of all others.
        StartedUnanswered,
        /// A process learned after its start that the farm counts another one of its number.
        Superseded,
        /// A number came back as a new process, and counts anew.
        RestartCountedAnew,
        /// A process counts because another server named it.
        CountedByHearsay,
        /// A message of a number's earlier process was refused.
        PredecessorRefused,
        /// A message of a server that had left was refused.
        LeftServerRefused,
        /// A suspect server was heard from again.
        SuspectHeardAgain,
        /// A server that was down was heard from again.
        DownServerHeardAgain,
        /// Joining ended because everybody was caught up with.
        JoinedByCovering,
        /// Joining ended because somebody was silent for long.
        JoinedDespiteSilence,
        /// Joining ended with a majority that was joining too: a cold start.
        ColdStartEndedByMajority,
        /// A session was published again because a writer who is gone, or silent, wrote to it.
        SessionPublishedAgainForGoneWriter,
        /// A session was not published again: another server had done so.
        SessionPublishedAgainElsewhere,
        /// A session that came with an answer or a repair was to be published again.
        ToldOfGoneWriter,
        /// What a session showed of a gone writer was left to the server that told of it.
        LeftToWhoToldOfIt,
        /// A server that others had left such sessions to was silent, or no more.
        LeftToOneThatDied,
        /// Entries of gone writers were closed on everybody's word.
        GoneWriterClosed,
        /// What a server had of a closed stream was forgotten, for no copy shows anything of it.
        WriterForgotten,
        /// Entries were closed because another server had closed them.
        ClosedAsAnotherSaid,
        /// A part was lost beyond a closed entry.
        LostBeyondClosedHole,
        /// A server was heard to have left from another.
        LeaveToldByAnother,
        /// A session was rotated, and the old one has a grace.
        RotatedWithGrace,
        /// A session that was rotated away was read in its grace.
        RetiredServed,
        /// A write to a session in its grace was refused.
        WriteToRetiredRefused,
        /// A rotation came before the session that it replaced.
        RotationMergedBeforeOld,
        /// A rotation came where the old session was in use.
        RotationRetiredCopy,
        /// A session that was rotated away came after the rotation.
        RotatedSessionMetItsEnd,
        /// A revocation ended sessions of its principal.
        RevocationEndedSessions,
        /// A session came that a revocation known here ends.
        SessionMetRevocation,
        /// A session came that was made after the newest revocation of its principal.
        SessionSurvivedRevocation,
        /// A leaving server waited for the others, and they had everything.
        LeaveWaitedForStream,
        /// A leaving server's time was over before the others had everything.
        LeaveGaveUpWaiting,
        /// A server's leaving showed that a part of its stream was missing.
        LeaveShowedGap,
        /// A server was asked on for one that may not reach it, and its answer passed on.
        AnswerForwarded,
        /// Those that were asked first could not help, and all were asked.
        QueryWidened,
        /// A request joined a look-up that was under way.
        CrowdSharedOneQuery,
        /// A large session was fetched from another holder than the first.
        FetchFailedOver,
        /// A range of copies was the same at two servers.
        RangeSame,
        /// A range differed only by sessions that one of the two servers leaves out.
        RangeDifferedByWhatIsLeftOut,
        /// A server could not compare when it was asked to.
        VerificationRefused,
        /// A question about a range was not answered in time.
        VerificationUnanswered,
        /// Copies differed though both servers have the same writes.
        MismatchFound,
        /// Copies that differed were merged.
        MismatchRepaired,
        /// A server took its own session back, whose copy it had lost.
        OwnLostCopyTakenBack,
        /// An anonymous session was ended to make room.
        Evicted,
        /// It looked idle-expired when it was.
        EvictedWhileIdle,
        /// A write was refused, for its session's origin has no bytes left.
        RefusedForBytes,
        /// The same though anonymous sessions could have ended: too many have come already.
        RefusedForPlaces,
        /// A process may not begin to write, for too many earlier ones of its number are remembered.
        RefusedForServers,
        /// An anonymous session was refused, for no more slots are for them.
        RefusedForAnonymousSlots,
        /// A session with a principal was made while anonymous ones had all slots that they may have.
        ReservedSlotUsed,
        /// A write to a session with a principal was made where a new anonymous one was refused for bytes.
        ReservedBytesUsed,
    }
}
