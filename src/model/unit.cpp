#include "model/unit.hpp"

#include "base/error.hpp"

namespace weft::model {

at::Tensor& tensor_of(PassState& state, StateTensor which) {
    switch (which) {
        case StateTensor::hidden: return state.hidden;
        case StateTensor::partial: return state.partial;
        case StateTensor::residual: return state.residual;
    }
    ensure(false, "a tensor that no state has");
    return state.hidden;
}

void run_all(const Units& units, PassState& state) {
    for (const auto& unit : units) unit->run(state, all_slots(state));
}

}  // namespace weft::model
