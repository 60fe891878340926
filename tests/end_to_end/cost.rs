//! What sampling costs, in instructions: under `-icount` the same work counts the same, to the instruction.

use uniprof_tests::Scene;
