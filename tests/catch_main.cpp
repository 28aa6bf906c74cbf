// The main function of Catch2 2, which that version keeps in its header. Catch2 3 has it in a library.

#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
