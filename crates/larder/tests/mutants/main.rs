//! The conformance suite can fail: each of these backends does one thing wrong, and the cases that are there for
//! it say so.

mod fault;
mod mutant;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use larder::{
    Config, Limits, Result, Store,
    backend::memory::MemoryBackend,
    testing::{Case, Fixture, Group, ManualClock, cases},
};

use crate::{fault::Fault, mutant::Mutant};

/// Opens a mutant of the in-memory backend.
#[derive(Debug)]
struct MutantFixture {
    clock: Arc<ManualClock>,
    fault: Fault,
}

impl MutantFixture {
    fn new(fault: Fault) -> Self {
        Self { clock: Arc::default(), fault }
    }
}

impl Fixture for MutantFixture {
    fn name(&self) -> &str {
        "mutant"
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    fn open(&self, limits: Limits) -> Result<Store> {
        let config = Config::memory().clock(self.clock.clone()).limits(limits);
        let sound = Arc::new(MemoryBackend::new(&config));
        Ok(Store::with_backend(Arc::new(Mutant::new(sound, self.fault))))
    }
}

/// Whether the case passes with that fault.
fn passes(case: &Case, fault: Fault) -> bool {
    let fixture = MutantFixture::new(fault);
    catch_unwind(AssertUnwindSafe(|| case.run(&fixture))).is_ok_and(|result| result.is_ok())
}

#[test]
fn without_a_fault_every_case_passes() {
    let failing: Vec<_> = cases(&[Group::All]).filter(|case| !passes(case, Fault::None)).collect();
    assert!(failing.is_empty(), "{failing:?}");
}

macro_rules! caught {
    ($($test:ident: $fault:ident => [$($case:literal),+];)*) => {$(
        #[test]
        fn $test() {
            for name in [$($case),+] {
                let case = Case::named(name).expect(name);
                assert!(!passes(case, Fault::$fault), "{name} does not see it");
            }
        }
    )*};
}

caught! {
    a_head_that_goes_back: HeadGoesBack => ["el_07_head_never_goes_back"];
    stale_expectations: IgnoresExpectations => [
        "el_03_a_stale_number_is_a_conflict", "el_03_a_gap_is_a_conflict", "el_14_both_guards_in_one_append",
        "el_16_one_creates_each_stream", "el_16_one_wins_the_same_expectation", "wb_02_require_head"];
    unheeded_conditions: IgnoresConditions => [
        "el_13_it_tells_what_matches", "el_13_random_conditions_decide_by_definition",
        "el_14_both_guards_in_one_append", "el_16_one_wins_overlapping_conditions", "wb_02_require_none_match"];
    conditions_from_the_start: ConditionsFromTheStart => [
        "el_13_after_is_exclusive", "el_13_random_conditions_decide_by_definition",
        "el_12_through_is_a_sound_after"];
    one_match_told: TellsOneMatch => ["el_13_it_tells_the_first_ten"];
    an_empty_append_refused: RefusesEmptyAppends => ["el_04_an_empty_append_checks_nothing"];
    a_silent_part: ReadsASilentPart => ["el_06_everything_or_too_large"];
    no_way_back: IgnoresDescending => [
        "el_06_backwards", "el_12_items_are_any_of", "el_12_random_queries_match_by_definition"];
    endless_pages: IgnoresBytes => ["el_06_a_page_is_bounded_in_bytes"];
    after_inclusive: AfterIsInclusive => ["el_12_after_is_exclusive"];
    through_too_low: ThroughIsTheLastItem => ["el_12_through_is_the_head_or_the_last_item"];
    through_too_high: ThroughIsTheHead => [
        "el_12_through_is_the_head_or_the_last_item", "el_12_through_is_a_sound_after"];
    any_of_the_tags: TagsAreAnyOf => [
        "el_12_types_are_any_of_tags_are_all_of", "el_12_random_queries_match_by_definition"];
    compaction_undone: CompactionDoesNothing => [
        "el_08_hides_from_every_read", "el_08_keeps_the_mark", "el_17_compacted_history_is_told_once"];
    compaction_in_parts: CompactsInParts => ["el_08_nobody_sees_half_of_it"];
    compaction_that_forgets: CompactionForgets => [
        "el_08_conditions_still_see_what_happened", "el_21_conditions_still_see_trimmed_events"];
    nothing_forgotten: ForgetDoesNothing => ["el_08_forget_removes_that_too"];
    marks_not_raised: RaiseMarkDoesNothing => ["el_09_raises_the_mark_of_an_empty_stream", "el_09_never_lowers"];
    trim_undone: TrimDoesNothing => ["el_21_trim_hides_by_position", "el_21_trim_raises_the_marks_of_streams"];
    drop_undone: DropDoesNothing => ["el_21_drop_log_removes_everything"];
    streams_in_disorder: StreamsDescend => ["el_10_streams_ascend_by_bytes", "el_10_pages_of_streams"];
    ids_forgotten: ForgetsIds => [
        "el_15_a_retry_answers_as_the_first_time", "el_15_any_other_reuse_already_exists",
        "el_15_compaction_keeps_the_ids", "el_15_concurrent_retries_write_once", "el_01_new_event_fields"];
    batch_ids_forgotten: ForgetsBatchIds => [
        "wb_03_a_repeated_batch_answers_as_the_first_time", "wb_03_concurrent_repetitions_write_once",
        "fl_03_a_batch_id_outlives_any_wait_but_the_clocks"];
    batches_in_parts: SplitsBatches => [
        "wb_01_the_first_failing_guard_fails_everything", "wb_01_readers_see_all_or_nothing",
        "wb_02_require_none_match"];
    the_wrong_index: NamesTheFirst => [
        "wb_01_the_first_failing_guard_fails_everything", "wb_02_require_head"];
    json_written_anew: ReserialisesJson => ["el_20_json_text_survives_byte_for_byte", "el_01_new_event_fields"];
    bytes_as_text: BytesBecomeJson => ["el_20_bytes_come_back_as_bytes"];
    metadata_dropped: DropsMetadata => ["el_01_new_event_fields"];
    tags_in_disorder: SortsTags => ["el_01_new_event_fields", "el_13_it_tells_what_matches"];
    another_clock: OtherClock => ["el_01_recorded_at_is_the_clocks_microsecond", "fl_03_time_is_the_stores_clock"];
    open_after_close: StaysOpen => ["cf_05_every_call_after_close_is_closed"];
    no_audit: ForgetsToAudit => ["el_22_verify_replays_each_decision"];
    a_blind_verify: VerifiesNothing => ["el_22_a_broken_decision_is_found", "fl_02_a_sound_store_verifies"];
    nothing_restored: RestoresNothing => ["fm_03_what_is_restored_is_the_same_log"];
    half_a_history: HistoryWithoutTraces => ["fm_03_history_holds_everything_in_order"];
}
