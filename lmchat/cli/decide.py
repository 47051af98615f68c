"""`lmchat decide`: one of several options, with its probability."""

from __future__ import annotations

from lmchat.cli.context import Context
from lmchat.cli.local import start_engine
from lmchat.cli.prompt import prompt_of
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.target import find_target
from lmchat.cli.wiring import open_runtime
from lmchat.errors import WrongUse
from lmchat.servers.products import refuse_ignored
from lmchat.services.decision import decide as decide_between
from lmchat.services.decision import labels_for

_ANOTHER_OPTION = 10  # exit code: the choice is not the first option


async def decide(context: Context) -> int:
    """Print the option that the model chooses, and its probability.

    Return 0 if it is the first option, 10 if it is another one. Of the sampling options, only those
    of the command line and of environment variables are sent.
    """
    options = [option.strip() for option in context.options.choices.split(",")]
    labels_for(options)  # wrong options are refused before stdin is read
    typed = sampling_layers(context).command_line
    if not context.options.prompt.strip():
        raise WrongUse("The question is empty.", hint='Example: lmchat decide "Is it spam?"')
    question = await prompt_of(context)

    async with open_runtime(context, is_saved=False) as runtime:
        settings = runtime.settings
        if context.is_local:
            settings = await start_engine(context, runtime)
        target = await find_target(runtime.backend, settings, runtime.state, context.output.note)
        refuse_ignored(target.product, typed)
        decision = await decide_between(
            runtime.backend,
            target,
            question,
            options,
            system_prompt=settings.chat.system_prompt,
            sampling=typed,
        )

    document = {
        "choice": decision.choice,
        "probability": decision.probability,
        "probabilities": decision.probabilities,
        "model": target.model_id,
        "endpoint": target.endpoint.url,
        "elapsed_ms": round(decision.elapsed_ms, 1),
    }
    context.output.print_result(document, f"{decision.choice} {decision.probability:.2f}")
    return 0 if decision.choice == options[0] else _ANOTHER_OPTION
