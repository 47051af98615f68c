"""`lmchat eval`: own prompts for several models, with checks of their answers.

Prompts are sent one at a time: two at once would share the speed of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from msgspec.structs import replace

from lmchat.chat.once import SingleAnswer, answer_of, single_request
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.chat.starts import new_prompt
from lmchat.cli.context import Context
from lmchat.cli.eval_cases import Case, read_cases
from lmchat.cli.eval_report import CaseAnswer, figures_of, text_report
from lmchat.cli.jobs import JobProgress
from lmchat.cli.models import fetch_models, load_if_needed, model_named
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.target import find_target
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.errors import LMChatError
from lmchat.files.disk import expanded_path
from lmchat.servers.model import ModelInfo, cannot_chat
from lmchat.servers.request import ChatRequest
from lmchat.sessions.message import ChatMessage
from lmchat.sessions.session import MessagePath
from lmchat.terminal.output import Output


async def evaluate(context: Context) -> int:
    """Ask all models all prompts, and print how many answers pass; return 1 if one fails, else 0.

    Raises an error before anything is asked if the file or a model cannot be used. After Ctrl+C or
    a later error, the answers until then are printed.
    """
    options = context.options
    layers = sampling_layers(context)
    cases = await read_cases(expanded_path(options.file))

    async with open_runtime(context, is_saved=False) as runtime:
        models = await _models(context, runtime)
        count = len(models) * len(cases) * options.runs
        answers: list[CaseAnswer] = []
        try:
            with JobProgress(count, prints_rows=False) as progress:
                for model in models:
                    load_error = await _load_error(context, runtime, model)
                    for case, run in product(cases, range(1, options.runs + 1)):
                        answer = SingleAnswer(model=model.model_id, error=load_error)
                        if load_error is None:
                            request = _request(runtime, layers, model, case)
                            answer = await answer_of(runtime.backend, request, model)
                        failures = await case.failures(answer)
                        answers.append(
                            CaseAnswer(
                                model=model.model_id,
                                case_name=case.name,
                                run=run,
                                answer=answer,
                                failures=failures,
                            )
                        )
                        tokens = answer.stats.completion_tokens or 0
                        progress.count(is_failed=bool(failures), tokens=tokens)
        finally:
            _print_report(context.output, answers)
    return 1 if any(answer.failures for answer in answers) else 0


def _print_report(output: Output, answers: Sequence[CaseAnswer]) -> None:
    """Print figures and answers of the models; nothing without an answer."""
    models = dict.fromkeys(answer.model for answer in answers)  # each once, in their order
    figures = [figures_of(model, answers) for model in models]
    if figures and output.is_json:
        rows = [answer.row for answer in answers]
        output.print_json({"models": figures, "cases": rows})
    elif figures:
        output.print_lines(text_report(figures, answers))


async def _models(context: Context, runtime: Runtime) -> list[ModelInfo]:
    """Return the models to ask: those of `-m`, each once, or the one that `lmchat ask` would use.

    Raises `WrongUse` for an unknown model, and for one that cannot chat.
    """
    names: Sequence[str] = context.options.models
    if names:
        model_list = await fetch_models(runtime, context.output.note, is_refresh=True)
    else:
        target = await find_target(
            runtime.backend, runtime.settings, runtime.state, context.output.note
        )
        model_list = await runtime.backend.models(target.endpoint, is_refresh=True)
        names = [target.model_id]
    models = [model_named(name, model_list) for name in names]
    for model in models:
        if not model.can_chat:
            raise cannot_chat(model)
    return [model for index, model in enumerate(models) if model not in models[:index]]


async def _load_error(context: Context, runtime: Runtime, model: ModelInfo) -> LMChatError | None:
    """Load a model, so that no answer waits for it; return the error if it cannot be loaded."""
    try:
        await load_if_needed(runtime, model, context.output)
    except LMChatError as error:
        return error
    return None


def _request(runtime: Runtime, layers: SamplingLayers, model: ModelInfo, case: Case) -> ChatRequest:
    """Return the request that asks a model a case.

    It has the messages of the case, or else the system prompt, the prompt and the files with which
    a new session would begin.
    """
    chat = runtime.settings.chat
    messages: tuple[ChatMessage, ...] = case.messages
    if not messages:
        system = chat.system_prompt if case.system_prompt is None else case.system_prompt
        start = new_prompt(MessagePath(()), case.prompt, case.files, system_prompt=system)
        messages = start.prompts
    request = single_request(
        model,
        messages,
        layers.values(case.options, model.model_id),
        keep_loaded_s=chat.keep_loaded_s,
        output=case.schema.output if case.schema else None,
    )
    files = {file.part.digest: file.data for file in case.files}
    return replace(request, files=files, is_batch=True)
