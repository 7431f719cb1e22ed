#include "app/run.hpp"

int main(int argc, char** argv) {
    using namespace weft::app;
    return run_program(argc, argv,
                       {add_generate, add_plan, add_inspect, add_trace, add_bench, add_bench_units, add_bench_scaling, add_doctor, add_make_model, add_pose});
}
