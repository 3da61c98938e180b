//! What a mutant does wrong.

/// One wrong thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The head of a stream that was compacted empty is 0.
    HeadGoesBack,
    IgnoresExpectations,
    IgnoresConditions,
    /// Conditions look at everything, whatever their position.
    ConditionsFromTheStart,
    TellsOneMatch,
    RefusesEmptyAppends,
    /// A read without a limit ends early and says that was all.
    ReadsASilentPart,
    IgnoresDescending,
    /// Pages grow beyond the bytes that were asked for.
    IgnoresBytes,
    AfterIsInclusive,
    ThroughIsTheLastItem,
    /// Even of a page that did not look that far.
    ThroughIsTheHead,
    TagsAreAnyOf,
    CompactionDoesNothing,
    /// First one half of the stream, then the other.
    CompactsInParts,
    CompactionForgets,
    ForgetDoesNothing,
    RaiseMarkDoesNothing,
    TrimDoesNothing,
    DropDoesNothing,
    StreamsDescend,
    ForgetsIds,
    ForgetsBatchIds,
    SplitsBatches,
    /// A batch's error always names the first operation.
    NamesTheFirst,
    ReserialisesJson,
    BytesBecomeJson,
    DropsMetadata,
    SortsTags,
    OtherClock,
    /// Closing does nothing.
    StaysOpen,
    ForgetsToAudit,
    VerifiesNothing,
    RestoresNothing,
    HistoryWithoutTraces,
    /// A bucket that is imported hands out numbers again.
    RestoresNoCounter,
    /// A trigger that is imported was never attempted.
    ForgetsAttempts,
    /// Triggers wait, though they were given up.
    RevivesTheDead,
    /// Reads of triggers leave out those that wait behind others.
    ReadsFirstTriggers,
    /// Reads the first dead letters of a projection only.
    ReadsFirstLetters,
    /// Tells of no bucket.
    HidesBuckets,
    PrunesNothing,
    DeletesBelow,
    BeforeIsInclusive,
    IgnoresSchemas,
    /// Streams and queries of a name have one snapshot.
    MixesSubjects,
    /// A snapshot that was saved in the meantime is overwritten.
    ReplacesWhatever,
    SnapshotsDescend,
}
