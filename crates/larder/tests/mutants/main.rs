//! The conformance suite can fail: each of these backends does one thing wrong, and the cases that are there for
//! it say so.

mod fault;
mod mutant;
mod query_db;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use larder::{
    Config, Limits, Result, Store,
    backend::memory::MemoryBackend,
    testing::{Case, Fixture, Group, ManualClock, cases},
};

use crate::{fault::Fault, mutant::Mutant, query_db::ItemFault};

/// Opens a mutant of the in-memory backend.
#[derive(Debug)]
struct MutantFixture {
    clock: Arc<ManualClock>,
    fault: AnyFault,
}

/// A wrong thing of either kind.
#[derive(Debug, Clone, Copy)]
enum AnyFault {
    Of(Fault),
    OfItems(ItemFault),
}

impl MutantFixture {
    fn new(fault: AnyFault) -> Self {
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
        let config = Config::memory().clock(self.clock.clone()).limits(limits.clone());
        let sound = Arc::new(MemoryBackend::new(&config));
        let mutant = match self.fault {
            AnyFault::Of(fault) => Mutant::new(sound, fault),
            AnyFault::OfItems(fault) => Mutant::with_items(sound, fault),
        };
        Ok(Store::with_backend_and_limits(Arc::new(mutant), limits))
    }
}

/// Whether the case passes with that fault.
fn passes(case: &Case, fault: AnyFault) -> bool {
    let fixture = MutantFixture::new(fault);
    catch_unwind(AssertUnwindSafe(|| case.run(&fixture))).is_ok_and(|result| result.is_ok())
}

#[test]
fn without_a_fault_every_case_passes() {
    let failing: Vec<_> =
        cases(&[Group::All]).filter(|case| !passes(case, AnyFault::Of(Fault::None))).collect();
    assert!(failing.is_empty(), "{failing:?}");
}

macro_rules! caught {
    ($of:ident, $faults:ident: $($test:ident: $fault:ident => [$($case:literal),+];)*) => {$(
        #[test]
        fn $test() {
            for name in [$($case),+] {
                let case = Case::named(name).expect(name);
                assert!(!passes(case, AnyFault::$of($faults::$fault)), "{name} does not see it");
            }
        }
    )*};
}

caught! { Of, Fault:
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
    nothing_pruned: PrunesNothing => [
        "sn_05_three_are_kept", "sn_05_how_many_is_a_choice", "sn_05_what_was_just_saved_stays"];
    deleted_below: DeletesBelow => ["sn_04_delete_is_inclusive_and_idempotent"];
    before_inclusive: BeforeIsInclusive => ["sn_03_before_is_strictly_below"];
    schemas_unheeded: IgnoresSchemas => [
        "sn_06_other_schemas_are_passed_over", "sn_08_a_schema_chooses_the_snapshot"];
    subjects_mixed: MixesSubjects => [
        "sn_01_streams_queries_and_logs_are_apart", "sn_02_latest_is_the_highest_place"];
    snapshots_overwritten: ReplacesWhatever => ["sn_07_what_is_saved_meanwhile_is_not_overwritten"];
    snapshots_in_disorder: SnapshotsDescend => [
        "sn_01_listings_are_in_order_and_lose_nothing", "sn_01_a_listing_starts_anywhere"];
    snapshots_in_parts: SplitsBatches => ["sn_01_a_save_is_part_of_a_batch"];
    half_a_history: HistoryWithoutTraces => ["fm_03_history_holds_everything_in_order"];
    numbers_again: RestoresNoCounter => [
        "fm_03_a_bucket_is_restored_in_parts", "fm_03_an_import_is_the_same_store"];
    attempts_forgotten: ForgetsAttempts => [
        "fm_03_a_bucket_is_restored_in_parts", "fm_03_an_import_is_the_same_store"];
    the_dead_revived: RevivesTheDead => [
        "fm_03_a_bucket_is_restored_in_parts", "fm_03_an_import_is_the_same_store"];
    half_the_triggers: ReadsFirstTriggers => ["fm_03_triggers_are_read_in_pages"];
    half_the_letters: ReadsFirstLetters => ["fm_03_more_dead_letters_than_a_page"];
    buckets_hidden: HidesBuckets => [
        "fm_03_a_bucket_that_was_refused_is_not_there", "fm_03_an_import_is_the_same_store"];
}

caught! { OfItems, ItemFault:
    any_save: IgnoresModes => ["qd_04_what_a_save_requires", "qd_04_one_wins_the_same_version",
        "qd_14_every_change_in_commit_order", "wb_01_a_bad_item_is_named_by_its_operation"];
    any_version: IgnoresVersions => ["qd_04_what_a_save_requires", "qd_04_one_wins_the_same_version"];
    no_ttl: IgnoresTtl => ["qd_08_expiry_is_rounded_up", "qd_08_an_item_is_visible_until_then"];
    late_expiry: ExpiresLate => ["qd_08_expiry_is_rounded_up", "qd_08_an_item_is_visible_until_then"];
    a_wide_purge: PurgesTooMuch => ["qd_08_purging_removes_the_oldest_first"];
    half_a_delete: DeletesOne => ["qd_05_a_batch_takes_effect_in_order", "qd_06_a_partition_or_one_item"];
    part_of_a_partition: DeletesPartOfAPartition => ["qd_06_a_partition_or_one_item"];
    a_count_down: SubtractsInstead => ["qd_07_adds_to_a_field"];
    a_double_count: CountsTwice => ["qd_07_adds_to_a_field", "qd_07_nothing_is_counted_twice_or_lost"];
    items_written_anew: ReserialisesItems => ["qd_02_text_survives_as_it_was", "qd_02_only_objects_are_items"];
    always_added: AlwaysAdded => ["qd_04_a_save_is_an_upsert"];
    half_a_batch: SavesHalfABatch => ["qd_05_a_batch_takes_effect_in_order", "wb_01_items_and_events_commit_together"];
    no_indexes: DefinesWithoutIndexes => ["qd_01_a_definition_is_kept", "qd_09_key_fields_are_a_tuple"];
    nothing_dropped: DropsNothing => ["qd_01_a_query_db_can_be_dropped"];
    no_index_dropped: DropsNoIndex => ["qd_01_an_index_can_be_dropped"];
    no_version_required: RequiresNothing => ["wb_02_require_version", "wb_01_a_failing_batch_leaves_no_trace"];
    no_filter: IgnoresFilters => ["qd_10_filters_look_at_any_field", "qd_11_filters_never_convert",
        "qd_10_random_queries_match_by_definition"];
    no_sort_condition: IgnoresSortConditions => ["qd_10_every_sort_condition", "qd_10_begins_with",
        "qd_10_random_queries_match_by_definition"];
    bounds_included: IncludesBounds => ["qd_10_every_sort_condition", "qd_10_random_queries_match_by_definition"];
    small_letters: AnyCase => ["qd_09_key_fields_are_a_tuple"];
    forwards_only: ReadsForwards => ["qd_10_every_sort_condition", "qd_13_a_scan_is_everything_in_key_order"];
    repeated_at_page_edges: RepeatsAtPageEdges => ["qd_12_pages_lose_and_repeat_nothing"];
    lost_at_page_edges: LosesAtPageEdges => ["qd_12_pages_lose_and_repeat_nothing",
        "qd_12_a_cursor_outlives_its_item"];
    an_early_end: NoNextPage => ["qd_12_pages_lose_and_repeat_nothing", "qd_10_a_page_looks_at_so_many_items"];
    no_item_limit: IgnoresItemLimits => ["qd_12_pages_lose_and_repeat_nothing"];
    numbers_as_text: SortsAsText => ["qd_11_numbers_are_ordered_as_numbers", "qd_09_several_sort_fields"];
    no_projection: IgnoresProjections => ["qd_09_projections"];
    one_more: CountsOneMore => ["qd_15_counting"];
    a_lost_change: LosesAChange => ["qd_14_every_change_in_commit_order", "qd_14_kept_changes_can_be_resumed"];
    a_repeated_change: RepeatsAChange => ["qd_14_every_change_in_commit_order"];
    added_twice: TellsAddedAlways => ["qd_14_every_change_in_commit_order"];
    no_reason: TellsNoReason => ["qd_08_purging_removes_the_oldest_first"];
}
