// The numbers of the native backend that measurement chose, but for two kinds: the register blocks
// of an instruction set stand beside its lanes (csrc/simd), the rows of tiles and partitions in
// src/vbfast/backends/native/blocking.py. Numbers that accuracy chose stand where they are used.
#pragma once

#include <cstdint>

namespace vbfast::tuning {

// Caches. Processors with AVX-512 have 32 KB of L1 and 512 KB of L2 at the least.

// Parameters of components that all groups of a tile visit before the next ones are fetched.
constexpr std::int64_t half_of_l2 = 256 << 10;
// What stays in L1 beside two others: the parameters of some components, or the mixed numbers of a
// gradient until they meet the row.
constexpr std::int64_t third_of_l1 = 12 << 10;
// The log-joint of the groups that visit the same components.
constexpr std::int64_t visited_joint = 64 << 10;
// Features of rows, of which each component takes a weighted sum: most of L1.
constexpr std::int64_t dense_panel = 24 << 10;
// Rows that a component has gathered, of which it takes the outer products: L1, and some of L2.
constexpr std::int64_t gathered_panel = 40 << 10;
// Features of a group of rows that meet the parameters of a linear form. They take half of L1 with
// AVX-512.
constexpr std::int64_t linear_features = 64;

// The E-step.

// Up to this many features, the dense product beats gathered rows for full second moments.
constexpr std::int64_t largest_dense_full = 24;
// From this many features on, gathered rows may beat mixed precisions in a gradient.
constexpr std::int64_t smallest_gathered_gradient = 25;
// From this many features on, a gradient keeps whitened rows if those of a tile take at most that
// many bytes: to write and read them costs less than to whiten a row again, also where they leave
// L2.
constexpr std::int64_t smallest_kept = 128;
constexpr std::int64_t largest_kept = 4 << 20;
// Numbers of a factor that a group has yet to meet, from which on it is asked whether it can leave
// early: the answer costs little beside them.
constexpr std::int64_t early_exit_factor = 256;
// Rows of no more features are added up by a loop of known length: they are too short for another.
constexpr int unrolled_features = 4;

// The search for the nearest centre.

// Bounds are used from this many centres, rows a centre, features and operations in lanes a row on.
// Below, all distances are computed sooner than some are left out.
constexpr std::int64_t fewest_centres = 32;
constexpr std::int64_t fewest_rows_a_centre = 64;
constexpr std::int64_t fewest_features = 12;
constexpr std::int64_t fewest_operations = 500;
// Centres that lie beside each other in lanes, for one row at a time: a vector of AVX-512.
constexpr int block_centres = 16;
// Groups of blocks that rows have a bound each of: 56 bytes a row, with label and upper bound.
constexpr int most_groups = 12;
// The most rows that are searched together.
constexpr int search_batch = 256;
// A row that is searched takes as long as this many multiplications, besides its distances.
constexpr std::int64_t search_row_operations = 1500;
// The rows, labels and bounds of a task.
constexpr std::int64_t search_range = 256 << 10;

// Array functions.

constexpr std::int64_t row_chunk = 2048;    // the longest row of one call, in elements
constexpr std::int64_t column_width = 256;  // the most slices of one call, a multiple of 16
constexpr std::int64_t column_chunk = 64;   // the most elements of each, summed in their own type
// Slices of no more elements lie across lanes, several of them at a time.
constexpr std::int64_t short_slice = 16;
constexpr std::int64_t block_elements = 1 << 15;  // of a block of rows, about
// Outputs from that size on stay in no cache, and are stored past them.
constexpr std::int64_t non_temporal_bytes = 1 << 24;

// Threads. An operation takes about a tenth of a nanosecond.

// The fewest operations of a thread, some 50 us. Waking a thread takes the caller 8 us, and 50 pass
// before it works: where two have half as much each, passes take up to 1.7 times as long as on one.
constexpr std::int64_t thread_operations = 1 << 19;
constexpr std::int64_t element_operations = 4;   // an exponential in lanes, at the least
constexpr std::int64_t gamma_operations = 2000;  // a difference of log-gammas, or a psi
// The fewest partitions for each thread: tests/backends/test_balance.py has what they leave of it
// busy.
constexpr std::int64_t partitions_a_thread = 8;
// Normal draws of a task, some hundred microseconds of few features.
constexpr std::int64_t task_draws = 1 << 14;
// Numbers of scratch of the matrices whose gradients are made at a time, or of one matrix.
constexpr std::int64_t gradient_scratch = 1 << 20;

// Interrupts: what is done between two looks for signals, some milliseconds.

constexpr std::int64_t interrupt_operations = 1 << 24;
constexpr std::int64_t interrupt_distances = 1 << 27;  // multiplications of a search
constexpr std::int64_t interrupt_elements = 1 << 18;   // of array functions

}  // namespace vbfast::tuning
