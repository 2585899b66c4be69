"""Which populations run on hardware together."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..modules._input_neuron import InputNeuron
from ..modules.neuron._aelif import AELIF
from ..modules.neuron._li import LI
from ..modules.types._projection import Projection
from ..utils._readout_source import ReadoutSource
from ._call import Call


class Stage(NamedTuple):
    """A population and the calls of the synapses that end on it."""

    synapses: tuple[Call, ...]
    neurons: Call


def runs_of(calls: Sequence[Call]) -> list[list[Stage]]:
    """The spiking populations, those of a run together, in the order of ``calls``.

    A population whose one synapse comes from the last one of a run joins it, if both are of the
    same execution instance and that one has no mask. Any other starts a run: what is parallel runs
    one after the other.
    """
    by_output = {id(call.outputs[0]): call for call in calls}
    runs: list[list[Stage]] = []
    for call in calls:
        _check(call)
        if not isinstance(call.module, AELIF):
            continue
        synapses = tuple(by_output.get(id(handle)) for handle in call.inputs)
        if not synapses or not all(
            each and isinstance(each.module, Projection) for each in synapses
        ):
            raise ValueError(f"{call.module.title} needs synapses before it on hardware")
        stage = Stage(synapses, call)  # pyright: ignore[reportArgumentType]
        run = next((run for run in runs if _follows(stage, run[-1])), None)
        if run is None:
            runs.append([stage])
        else:
            run.append(stage)
    _check_recordings(calls)
    return runs


def _follows(stage: Stage, last: Stage) -> bool:
    if len(stage.synapses) != 1 or stage.synapses[0].inputs[0] is not last.neurons.outputs[0]:
        return False
    # What a mask silences is silent behind the chip only.
    before = last.neurons.module
    return before.mask is None and _instance(stage.neurons.module) is _instance(before)


def _is_synapse(call: Call) -> bool:
    return isinstance(call.module, Projection)


def _instance(module: Any) -> Any:
    return module.execution_instance or module.experiment.default_execution_instance


def _check(call: Call) -> None:
    module = call.module
    if not isinstance(module, InputNeuron | Projection | AELIF | LI):
        raise ValueError(f"{module.title} cannot run on hardware; set mock=True")
    if isinstance(module, AELIF):
        module.check_terms(may_adapt=False)


def _check_recordings(calls: Sequence[Call]) -> None:
    """The chip records one neuron with its fast converter."""
    recording: dict[int, Any] = {}
    for call in calls:
        module = call.module
        if not isinstance(module, AELIF | LI) or not module.options["enable_madc_recording"]:
            continue
        neuron = module.options["record_neuron_id"]
        if neuron is None or not 0 <= neuron < module.size:
            raise ValueError(
                f"{module.title}: enable_madc_recording needs record_neuron_id, the neuron that is "
                f"recorded, 0 to {module.size - 1}; got {neuron}"
            )
        if module.options.get("madc_readout_source") is ReadoutSource.ADAPTATION:
            raise ValueError(
                f"{module.title}: madc_readout_source must be ReadoutSource.VOLTAGE, as neurons on "
                f"hardware do not adapt here"
            )
        other = recording.setdefault(id(_instance(module)), module)
        if other is not module:
            raise RuntimeError(
                f"{other.title} and {module.title} have enable_madc_recording, but only one neuron "
                f"of an execution instance can be recorded; switch it off in one of them"
            )
