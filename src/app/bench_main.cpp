#include "app/run.hpp"

int main(int argc, char** argv) {
    return weft::app::run_program(argc, argv, {weft::app::add_bench, weft::app::add_bench_units});
}
