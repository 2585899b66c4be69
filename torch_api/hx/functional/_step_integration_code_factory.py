"""Which terms a step of the neuron equations has, in the form in which hxtorch asks for it."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class CuBaStepCode:
    """The terms of a step; `generate` names them for ``integration_step_code``.

    hxtorch generates Python code there and executes it. Here the functions compute the terms, and
    code of one's own is refused.
    """

    leaky: bool = True
    fire: bool = True
    refractory: bool = False
    exponential: bool = False
    subthreshold_adaptation: bool = False
    spike_triggered_adaptation: bool = False
    hw_voltage_trace_available: bool = False
    hw_adaptation_trace_available: bool = False
    hw_spikes_available: bool = False

    def generate(self) -> str:
        """The names of the terms, one per line."""
        return "\n".join(field.name for field in fields(self) if getattr(self, field.name))


def check_step_code(code: str, **flags: bool) -> None:
    """Refuse code that names other terms than the arguments do."""
    known = {field.name for field in fields(CuBaStepCode)}
    names = {*code.split("\n")} - {""}
    if not names <= known:
        raise ValueError(
            "integration_step_code must come from CuBaStepCode(...).generate(); for steps of your "
            "own, write a forward_func"
        )
    for name, value in flags.items():
        if value != (name in names):
            raise ValueError(
                f"integration_step_code was generated with {name}={name in names}, but the "
                f"argument {name} is {value}"
            )
