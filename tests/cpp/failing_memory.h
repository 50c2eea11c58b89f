// Memory that runs out when a test says so: a replaced operator new.
#pragma once

#include <atomic>

// Allocations until one fails; below zero none does.
extern std::atomic<long> left;
