"""How the kernel is compiled: no place in its arrays counts from the end, no array lies over another, and its loops are
short.

Python counts a negative place from the end of an array, and compiled code asks for it at each access. No place of the
kernel is negative, so that they are read as unsigned numbers, which cannot be: half of the machine code is gone, and
with it a sixth of the time of a replay. A negative place would lie far beyond the array, which NUMBA_BOUNDSCHECK=1
reports. It is a step of a compiler of its own, as Numba provides for ("Customizing the Compiler" in its manual).

And as each array that the kernel writes is memory of its own, what was read of one stays read while another is written:
another tenth of the time. The tests see both in the kernel's plain Python form.
"""

from __future__ import annotations

import importlib
from typing import Any

from numba.core import ir, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir_utils import get_definition, guard, mk_unique_var
from numba.core.untyped_passes import ReconstructSSA

__all__ = ["CalledCompiler", "KernelCompiler", "config"]

config: Any = importlib.import_module("numba.core.config")
"""Numba's settings."""


@register_pass(mutates_CFG=False, analysis_only=False)
class _UnsignedPlaces(FunctionPass):
    _name = "unsigned_places"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Read each place that is computed as an unsigned number."""
        code = state.func_ir
        for block in code.blocks.values():
            statements, block.body = block.body, []
            for statement in statements:
                access: Any = statement if isinstance(statement, ir.SetItem) else getattr(statement, "value", None)
                if access is statement or getattr(access, "op", None) == "getitem":
                    access.index = _unsigned(code, block, access.index)
                block.append(statement)
        return True


def _unsigned(code: Any, block: Any, place: ir.Var) -> ir.Var:
    found = guard(get_definition, code, place)
    if isinstance(found, ir.Const | ir.Global | ir.FreeVar):
        return place
    kind = getattr(found, "op", None)
    if kind == "getattr":  # a column, by its name in the layout
        return place
    if kind == "build_tuple":
        parts = [_unsigned(code, block, part) for part in found.items]
        return _given(code, block, ir.Expr.build_tuple(parts, place.loc))
    if kind == "call" and getattr(guard(get_definition, code, found.func), "value", None) is slice:
        return place
    unsigned = _given(code, block, ir.Global("uintp", types.uintp, place.loc))
    return _given(code, block, ir.Expr.call(unsigned, [place], (), place.loc))


def _given(code: Any, block: Any, value: Any) -> ir.Var:
    """A new variable with a value."""
    variable = ir.Var(block.scope, mk_unique_var("$place"), value.loc)
    block.append(ir.Assign(value, variable, value.loc))
    code._definitions[variable.name] = [value]
    return variable


class KernelCompiler(CompilerBase):
    """Numba's compiler, for the functions of the kernel."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own steps and, as soon as each variable has one value, that of this module."""
        steps = DefaultPassBuilder.define_nopython_pipeline(self.state)
        steps.add_pass_after(_UnsignedPlaces, ReconstructSSA)
        steps.finalize()
        return [steps]

    def compile_extra(self, function: Any) -> Any:
        """Compile without taking several turns of a loop at once: those of the kernel have two to five.

        Numba compiles one function at a time, under a lock of its own.
        """
        usual = config.LOOP_VECTORIZE
        config.LOOP_VECTORIZE = 0
        try:
            return super().compile_extra(function)  # type: ignore[no-untyped-call]
        finally:
            config.LOOP_VECTORIZE = usual


class CalledCompiler(KernelCompiler):
    """The same for functions that are called, with whole tables.

    Those that are inlined may be given a row beside its table, which do lie over each other.
    """

    def compile_extra(self, function: Any) -> Any:
        """Compile for arrays none of which, if written, lies over another."""
        self.state.flags.noalias = True
        return super().compile_extra(function)
