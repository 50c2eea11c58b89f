// For functions and lambdas that the compiler would not inline by itself. A call in a loop writes
// all registers to memory, and a body that is compiled by itself loses what is known of its
// arguments, that a count is positive, say.
#define VBFAST_INLINED __attribute__((always_inline))
