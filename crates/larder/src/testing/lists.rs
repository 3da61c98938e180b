//! The lists of cases, by group. A case that is in none of them is dead code, which the compiler reports.

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    (all, $then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            append {
                el_01_an_event_without_a_stream,
                el_01_an_id_is_derived_from_log_and_position,
                el_01_new_event_fields,
                el_01_recorded_at_is_the_clocks_microsecond,
                el_01_repeated_tags_are_kept_once,
                el_01_time_before_the_epoch_is_the_epoch,
                el_02_consecutive_numbers_and_positions,
                el_03_a_conflict_writes_and_publishes_nothing,
                el_03_a_gap_is_a_conflict,
                el_03_a_stale_number_is_a_conflict,
                el_03_any_always_succeeds,
                el_03_exact_needs_the_head,
                el_04_an_empty_append_checks_nothing,
                el_05_one_bad_event_writes_nothing,
                el_07_head_follows_appends,
                el_07_head_never_goes_back,
                el_07_head_of_an_unknown_stream,
            }
            in_flight {
                el_02_a_polled_write_commits_though_dropped,
                el_02_an_unpolled_write_does_nothing,
                el_02_awaiting_answers_as_waiting,
                el_16_a_refused_write_leaves_its_group_alone,
                el_16_many_writes_in_flight_of_one_thread,
            }
            memory_use {
                el_06_a_page_is_bounded_in_bytes,
                el_06_iteration_holds_one_page,
                el_17_a_slow_subscriber_holds_one_page,
            }
            names {
                el_02_log_names,
                el_02_stream_ids,
                el_04_bad_stream_ids_are_refused_everywhere,
                el_05_event_types,
                el_05_metadata_size,
                el_05_payload_size,
                el_05_sixty_four_tags,
                el_05_tags,
                el_12_a_query_needs_types_or_tags,
            }
            payload {
                el_01_metadata_is_a_json_object,
                el_20_bytes_come_back_as_bytes,
                el_20_json_text_survives_byte_for_byte,
                el_20_what_is_not_json_is_refused,
            }
            read {
                el_06_a_limit_leads_to_the_next_page,
                el_06_backwards,
                el_06_both_ends_are_inclusive,
                el_06_everything_or_too_large,
                el_06_iteration_over_large_payloads,
                el_06_iteration_over_many_pages,
                el_06_iteration_while_writers_write,
                el_06_nothing_there_is_an_empty_page,
                el_10_compacted_empty_streams_are_flagged,
                el_10_pages_of_streams,
                el_10_streams_ascend_by_bytes,
            }
            query {
                el_11_positions_are_never_reused,
                el_11_positions_belong_to_a_log,
                el_11_positions_strictly_rise,
                el_12_a_query_of_many_items,
                el_12_after_is_exclusive,
                el_12_items_are_any_of,
                el_12_names_match_exactly,
                el_12_numbers_beyond_any_log,
                el_12_pages_lose_and_repeat_nothing,
                el_12_random_queries_match_by_definition,
                el_12_through_counts_compacted_history,
                el_12_through_is_a_sound_after,
                el_12_through_is_the_head_or_the_last_item,
                el_12_through_of_an_unknown_log_is_the_start,
                el_12_types_are_any_of_tags_are_all_of,
            }
            compaction {
                el_08_a_long_stream_while_others_write,
                el_08_beyond_the_head_means_the_head,
                el_08_conditions_still_see_what_happened,
                el_08_forget_removes_that_too,
                el_08_hides_from_every_read,
                el_08_keeps_the_mark,
                el_08_nobody_sees_half_of_it,
                el_08_repetition_and_unknown_streams_are_fine,
                el_08_the_first_hidden_match_can_be_found,
                el_09_live_events_refuse_it,
                el_09_never_lowers,
                el_09_raises_the_mark_of_an_empty_stream,
            }
            condition {
                el_13_a_failed_condition_writes_nothing,
                el_13_after_is_exclusive,
                el_13_by_type_by_tag_and_by_anything,
                el_13_it_tells_the_first_ten,
                el_13_it_tells_what_matches,
                el_13_its_own_events_do_not_count,
                el_13_random_conditions_decide_by_definition,
                el_13_start_means_any_at_all,
                el_13_what_does_not_match_is_no_obstacle,
                el_14_both_guards_in_one_append,
                el_22_a_broken_decision_is_found,
                el_22_auditing_is_off_by_default,
                el_22_compaction_breaks_no_decision,
                el_22_verify_replays_each_decision,
            }
            retry {
                el_15_a_retry_answers_as_the_first_time,
                el_15_an_id_twice_in_one_append,
                el_15_any_other_reuse_already_exists,
                el_15_any_uuid_is_an_id,
                el_15_compaction_keeps_the_ids,
                el_15_concurrent_retries_write_once,
                el_15_ids_are_checked_before_the_guards,
                el_15_ids_belong_to_a_log,
                el_15_ids_of_a_refused_append_stay_free,
                el_15_many_ids,
            }
            concurrency {
                el_11_a_reader_is_never_overtaken,
                el_16_one_creates_each_stream,
                el_16_one_wins_overlapping_conditions,
                el_16_one_wins_the_same_expectation,
                el_16_own_streams_do_not_disturb_each_other,
                el_16_stream_guard_against_condition,
            }
            subscription {
                el_17_a_refused_append_never_shows,
                el_17_a_slow_subscriber_loses_nothing,
                el_17_a_streams_own_compaction_is_told,
                el_17_after_is_exclusive,
                el_17_closing_ends_it,
                el_17_compacted_history_is_told_once,
                el_17_compaction_and_drops_do_not_end_it,
                el_17_first_the_past_then_live,
                el_17_giving_up_waiting_loses_nothing,
                el_17_many_subscribers_at_the_switch,
                el_17_no_gap_while_writers_never_stop,
                el_17_only_what_matches,
            }
            bulk {
                el_19_a_batch_is_bounded_too,
                el_19_an_error_names_the_last_one_committed,
                el_19_an_interrupted_load_can_be_repeated,
                el_19_loads_an_iterator_of_any_length,
                el_19_memory_is_bounded,
                el_19_one_append_is_atomic_up_to_its_limit,
            }
            trim {
                el_21_conditions_still_see_trimmed_events,
                el_21_drop_log_removes_everything,
                el_21_dropping_again_or_an_unknown_log_is_fine,
                el_21_trim_beyond_the_head_and_again,
                el_21_trim_hides_by_position,
                el_21_trim_raises_the_marks_of_streams,
            }
            batch {
                wb_01_a_bad_operation_is_named,
                wb_01_an_empty_batch_commits,
                wb_01_appends_commit_together,
                wb_01_conditions_see_the_batchs_own_events,
                wb_01_handles_of_another_store_are_refused,
                wb_01_ids_count_within_a_batch,
                wb_01_maintenance_in_a_batch,
                wb_01_operations_see_the_earlier_ones,
                wb_01_readers_see_all_or_nothing,
                wb_01_the_first_failing_guard_fails_everything,
                wb_02_require_head,
                wb_02_require_none_match,
                wb_03_a_repeated_batch_answers_as_the_first_time,
                wb_03_another_batch_already_exists,
                wb_03_another_number_of_operations_already_exists,
                wb_03_concurrent_repetitions_write_once,
                wb_03_every_outcome_is_kept,
                wb_03_ids_are_kept_for_a_day,
                wb_03_the_id_of_a_failed_batch_stays_free,
            }
            snapshot_saving {
                sn_01_a_listing_starts_anywhere,
                sn_01_a_repeated_batch_answers_as_the_first_time,
                sn_01_a_save_is_part_of_a_batch,
                sn_01_a_snapshot_is_what_was_saved,
                sn_01_compaction_keeps_and_dropping_removes,
                sn_01_everything_or_too_large,
                sn_01_listings_are_in_order_and_lose_nothing,
                sn_01_names_and_places_are_checked,
                sn_01_saving_again_replaces,
                sn_01_stats_and_verify_count_them,
                sn_01_streams_queries_and_logs_are_apart,
                sn_02_latest_is_the_highest_place,
                sn_03_before_is_strictly_below,
                sn_04_delete_is_inclusive_and_idempotent,
                sn_05_how_many_is_a_choice,
                sn_05_three_are_kept,
                sn_05_what_was_just_saved_stays,
                sn_06_other_schemas_are_passed_over,
            }
            snapshot_codec {
                sn_07_decompression_is_capped,
                sn_07_an_interrupted_replacement_goes_on,
                sn_07_keys_are_replaced,
                sn_07_long_states_are_compressed,
                sn_07_moved_elsewhere_it_does_not_decrypt,
                sn_07_what_is_encrypted_needs_its_key,
                sn_07_what_is_saved_meanwhile_is_not_overwritten,
            }
            snapshot_recovery {
                sn_08_a_compacted_match_needs_a_snapshot,
                sn_08_a_compacted_stream_needs_a_snapshot,
                sn_08_a_hole_is_refused,
                sn_08_a_schema_chooses_the_snapshot,
                sn_08_a_snapshot_beyond_the_head_is_refused,
                sn_08_compaction_meanwhile_is_no_hole,
                sn_08_from_a_query,
                sn_08_from_a_snapshot_and_the_events_after_it,
                sn_08_large_matches_are_not_taken_for_compacted,
                sn_08_over_many_pages,
                sn_08_what_evolve_says_is_told,
            }
            decider {
                pr_06_a_command_is_decided_on_the_state,
                pr_06_a_decision_on_hidden_facts_is_refused,
                pr_06_a_decision_over_a_query_holds,
                pr_06_attempts_are_bounded,
                pr_06_given_when_then,
                pr_06_large_facts_are_not_taken_for_hidden,
                pr_06_snapshots_carry_the_state,
                pr_06_who_was_too_late_decides_again,
            }
            projection {
                el_08_unread_history_is_not_compacted,
                pr_01_a_checkpoint_is_compared,
                pr_01_another_log_is_refused,
                pr_01_each_event_takes_effect_once,
                pr_01_it_goes_on_after_its_checkpoint,
                pr_01_loads_see_the_batchs_own_writes,
                pr_01_two_runners_do_not_both_apply,
                pr_02_a_refused_write_fails_its_event_alone,
                pr_02_compacted_history_is_told,
                pr_02_it_passes_over_into_dead_letters,
                pr_02_it_stops_before_a_failing_event,
                pr_02_it_tries_again,
                pr_02_long_errors_are_kept_in_part,
                pr_02_refused_writes_and_failures_of_one_page,
                pr_04_waiting_ends_when_it_has_come_so_far,
                pr_05_batches_give_the_same_as_single_events,
            }
            projection_rebuild {
                pr_03_a_checkpoint_beyond_the_log_is_told,
                pr_03_a_failed_rebuild_leaves_nothing,
                pr_03_a_failed_rebuild_leaves_the_old_one,
                pr_03_a_rebuild_over_compacted_history_must_be_allowed,
                pr_03_a_rebuild_replaces_everything_at_once,
                pr_03_a_rebuild_tries_again,
                pr_03_a_request_ends_with_a_failed_rebuild,
                pr_03_a_requested_rebuild_is_done_by_the_runner,
                pr_03_a_requested_rebuild_outlives_its_runner,
                pr_03_a_runner_goes_on_after_a_rebuild_beside_it,
                pr_03_dropped_in_a_rebuild_it_leaves_no_copy,
                pr_03_history_that_goes_meanwhile_is_told,
                pr_03_it_writes_nothing_else,
                pr_03_others_cannot_write_what_it_owns,
            }
            query_db_define {
                qd_01_a_definition_can_change_during_a_rebuild,
                qd_01_a_definition_is_kept,
                qd_01_a_query_db_can_be_dropped,
                qd_01_an_index_can_be_dropped,
                qd_01_an_item_that_violates_a_new_index_is_named,
                qd_01_an_undefined_one_begins_with_its_first_item,
                qd_01_another_key_layout_is_refused,
                qd_01_changes_are_kept_until_told_otherwise,
                qd_01_definitions_are_checked,
                qd_01_more_indexes_are_built,
            }
            query_db_item {
                qd_02_an_item_has_a_limit,
                qd_02_keys_are_checked,
                qd_02_only_objects_are_items,
                qd_02_text_survives_as_it_was,
                qd_02_the_sub_key_is_a_fields_value,
                qd_02_wrong_types_in_key_fields_are_refused,
                qd_03_a_partition_in_the_order_of_sub_keys,
                qd_03_everything_or_too_large,
            }
            query_db_save {
                qd_04_a_save_is_an_upsert,
                qd_04_one_wins_the_same_version,
                qd_04_versions_rise_through_the_query_db,
                qd_04_what_a_save_requires,
                qd_05_a_batch_takes_effect_in_order,
                qd_05_one_bad_item_writes_nothing,
                qd_06_a_partition_or_one_item,
                qd_07_adds_to_a_field,
                qd_07_counters_know_the_definition,
                qd_07_nothing_is_counted_twice_or_lost,
                qd_07_what_cannot_be_added_to_is_refused,
            }
            query_db_ttl {
                qd_08_a_field_can_hold_it,
                qd_08_a_purge_is_bounded,
                qd_08_a_save_clears_and_a_counter_keeps_it,
                qd_08_an_expired_item_counts_as_absent,
                qd_08_an_item_is_visible_until_then,
                qd_08_expired_items_end_no_page_early,
                qd_08_expiry_is_rounded_up,
                qd_08_purging_removes_the_oldest_first,
            }
            query_db_index {
                qd_09_an_index_is_sparse,
                qd_09_key_fields_are_a_tuple,
                qd_09_paths_may_be_nested,
                qd_09_projections,
                qd_09_several_sort_fields,
            }
            query_db_query {
                qd_10_a_page_looks_at_so_many_items,
                qd_10_bad_queries_are_refused,
                qd_10_begins_with,
                qd_10_every_sort_condition,
                qd_10_filters_look_at_any_field,
                qd_10_random_queries_match_by_definition,
                qd_11_filters_never_convert,
                qd_11_numbers_are_ordered_as_numbers,
                qd_11_strings_are_ordered_by_bytes,
                qd_11_ties_are_broken_by_the_primary_key,
                qd_15_counting,
            }
            query_db_paging {
                qd_12_a_cursor_of_another_query_is_refused,
                qd_12_a_cursor_outlives_its_item,
                qd_12_a_cursor_survives_new_definitions,
                qd_12_a_long_listing_while_others_write,
                qd_12_a_page_is_bounded_in_bytes,
                qd_12_pages_lose_and_repeat_nothing,
                qd_13_a_scan_is_everything_in_key_order,
                qd_13_iteration_holds_one_page,
            }
            query_db_changes {
                qd_14_a_drop_is_told,
                qd_14_a_refused_batch_is_not_told,
                qd_14_a_version_that_was_never_given_is_told,
                qd_14_an_undefined_one_can_be_followed,
                qd_14_closing_ends_it,
                qd_14_every_change_in_commit_order,
                qd_14_kept_changes_can_be_resumed,
                qd_14_no_gap_while_writers_never_stop,
                qd_14_too_old_is_told_once,
            }
            query_db_batch {
                wb_01_a_bad_item_is_named_by_its_operation,
                wb_01_a_failing_batch_leaves_no_trace,
                wb_01_items_and_events_commit_together,
                wb_01_readers_never_see_half_of_the_items,
                wb_02_require_version,
                wb_03_items_answer_as_the_first_time,
            }
            task_objects {
                tb_01_an_object_is_what_was_put,
                tb_01_if_absent_does_not_replace,
                tb_01_listings_are_in_order_and_lose_nothing,
                tb_01_names_and_sizes_are_checked,
                tb_01_stats_and_verify_count_them,
                tb_02_a_task_tells_what_became_of_its_object,
                tb_02_a_trigger_commits_with_its_put,
                tb_02_what_is_never_due_is_kept,
            }
            task_leases {
                tb_03_a_lease_has_one_holder_until_it_runs_out,
                tb_03_a_lease_is_renewed_from_now,
                tb_03_claims_take_who_waits_longest,
                tb_03_concurrent_claims_share_nothing,
                tb_03_who_never_comes_back_leaves_a_dead_letter,
                tb_04_a_dead_letter_lets_the_next_one_go,
                tb_04_one_of_a_key_at_a_time_in_order,
            }
            task_work {
                tb_03_a_lease_is_kept_while_the_handler_runs,
                tb_03_a_lost_lease_ends_the_handler,
                tb_03_an_acknowledgement_commits_with_the_effects,
                tb_03_backoff_goes_by_the_clock,
                tb_03_concurrency_is_limited,
                tb_03_failures_are_repeated_then_dead_letters,
                tb_03_options_are_checked,
                tb_03_success_acknowledges,
                tb_03_work_wakes_for_puts_and_ends_with_the_store,
                tb_04_a_failing_key_holds_back_no_other,
            }
            failures {
                fl_01_an_error_wrote_nothing,
                fl_02_a_sound_store_verifies,
                fl_03_a_batch_id_outlives_any_wait_but_the_clocks,
                fl_03_time_is_the_stores_clock,
            }
            history {
                fm_03_history_holds_everything_in_order,
                fm_03_restoring_needs_room_above_the_head,
                fm_03_restoring_what_is_there_is_refused,
                fm_03_what_is_restored_is_the_same_log,
            }
            transfer {
                fm_03_a_bucket_is_restored_in_parts,
                fm_03_a_bucket_that_was_refused_is_not_there,
                fm_03_an_export_comes_back_the_same,
                fm_03_an_import_is_the_same_store,
                fm_03_more_dead_letters_than_a_page,
                fm_03_triggers_are_read_in_pages,
            }
            closing {
                cf_05_close_is_idempotent,
                cf_05_closing_while_others_write,
                cf_05_every_call_after_close_is_closed,
            }
        }
    };
    (durable, $then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            append {
                el_07_head_is_there_after_reopening,
            }
            projection {
                pr_01_checkpoints_are_kept_over_reopening,
            }
            payload {
                el_20_json_text_survives_reopening,
            }
            query {
                el_11_positions_are_not_reused_after_reopening,
            }
            compaction {
                el_08_compaction_is_kept_over_reopening,
            }
            condition {
                el_22_auditing_is_kept_over_reopening,
            }
            retry {
                el_15_ids_are_kept_over_reopening,
            }
            trim {
                el_21_a_dropped_log_stays_dropped,
                el_21_trimming_is_kept_over_reopening,
            }
            batch {
                wb_03_ids_are_kept_over_reopening,
            }
            snapshot_saving {
                sn_01_snapshots_are_kept_over_reopening,
            }
            query_db_define {
                qd_01_everything_is_kept_over_reopening,
            }
            query_db_changes {
                qd_14_a_dropped_one_can_be_followed_after_reopening,
                qd_14_kept_changes_survive_reopening,
            }
            task_objects {
                tb_02_objects_and_triggers_are_kept_over_reopening,
            }
            failures {
                fl_01_what_was_acknowledged_is_there,
            }
            closing {
                cf_05_dropping_every_handle_keeps_what_was_written,
            }
        }
    };
    (builtin, $then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            names {
                el_05_limits_are_configurable,
            }
            snapshot_saving {
                sn_01_a_state_has_a_limit,
            }
            snapshot_codec {
                sn_07_the_store_has_a_codec,
            }
            closing {
                cf_06_a_lazy_store_can_be_closed_unopened,
                cf_06_many_first_operations_open_once,
                cf_06_the_first_operation_opens,
            }
            urls {
                cf_01_an_unknown_url_lists_the_known_ones,
                cf_02_an_unknown_value_never_means_memory,
                cf_04_a_password_is_never_shown,
            }
        }
    };
    (memory, $then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            memory {
                cf_01_each_store_in_memory_is_its_own,
                cf_01_memory_urls,
                cf_02_unset_or_empty_means_memory,
                cf_04_one_line_names_memory,
                fm_03_memory_has_no_backup,
            }
        }
    };
    (sqlite, $then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            config_sqlite {
                cf_01_sqlite_urls,
                cf_01_the_parent_directory_is_created,
                cf_01_url_and_code_say_the_same,
                cf_02_the_environment_names_a_file,
                cf_03_a_file_that_is_no_database_is_refused,
                cf_03_a_foreign_database_is_refused,
                cf_03_a_newer_version_is_refused,
                cf_03_reset_wipes_at_every_open,
                cf_03_without_reset_everything_survives,
                cf_04_a_failed_open_names_no_backend,
                cf_04_one_line_names_the_file,
                cf_05_a_clean_close_leaves_one_file,
                cf_05_a_failed_open_can_be_retried,
                cf_05_closing_while_it_opens,
                cf_05_dropping_without_closing_keeps_the_file_usable,
                cf_06_a_subscription_tries_again_too,
                cf_06_lazy_touches_nothing,
                cf_06_the_next_operation_tries_again,
                cf_07_reading_never_creates_a_file,
                cf_07_reading_only_refuses_every_write,
            }
            backup {
                fm_03_a_backup_is_the_same_store,
                fm_03_a_backup_overwrites_nothing,
                fm_03_a_backup_while_writers_write,
            }
            in_use {
                cf_03_reset_of_a_file_in_use_is_locked,
                cf_03_reset_of_what_this_process_has_open_is_locked,
                cf_03_reset_waits_for_an_idle_process_too,
                cf_05_another_process_takes_over,
                cf_05_closing_one_leaves_the_other,
                cf_05_dropping_does_not_wait,
                cf_05_the_same_file_is_one_instance,
            }
            event_log_sqlite {
                el_11_positions_are_not_reused_after_vacuum,
                el_16_another_process_compacts_and_drops,
                el_16_another_process_is_seen_by_every_guard,
                el_16_one_process_wins_each_stream,
                el_16_past_the_busy_timeout_it_is_locked,
                el_16_processes_that_always_write_yield,
                el_18_live_subscribers_hear_another_process,
                el_18_ours_and_theirs_in_one_order,
            }
            failures_sqlite {
                fl_02_a_subscription_reports_it_too,
                fl_02_an_altered_event_is_never_data,
                fl_02_names_are_part_of_the_checksum,
                fl_02_verify_compares_the_index_with_the_events,
                fl_02_verify_finds_an_altered_event,
                fl_02_verify_finds_what_does_not_fit_together,
            }
            projection_sqlite {
                pr_03_another_process_may_ask_for_a_rebuild,
            }
            snapshot_sqlite {
                fl_02_an_altered_snapshot_is_never_data,
                sn_05_a_failing_prune_never_fails_a_save,
                sn_07_a_damaged_snapshot_keeps_no_other_from_its_key,
                sn_08_a_state_is_recovered_without_writing,
            }
            task_sqlite {
                fl_02_an_altered_object_is_never_data,
                fl_02_an_altered_trigger_is_found,
                tb_03_a_corrupted_object_is_a_failed_attempt,
                fm_03_an_import_by_another_process_is_handled,
                tb_03_puts_of_another_process_are_handled,
            }
        }
    };
}
