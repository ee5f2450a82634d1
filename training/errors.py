"""What can go wrong, each kind with a number that stays: what it is, what it comes from, what to do, and a button where the page has one.

The number is told from the sentence, wherever that was made, so that an old run has it too; sentences are made where the thing goes
wrong (runs/death.py, plan/estimate.py, hub/client.py, …).  docs/errors.md is this table, printed by `python -m training errors --page`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

GENERAL = "E-100"
ACTIONS = {  # what a button on the page does about it
    "fit": "Make it fit",
    "disk": "Free disk",
    "sign_in": "Sign in",
    "base": "Choose another base",
    "settings": "Change the settings",
    "pictures": "Look at the pictures",
}
ROOMS = {
    "1": "Memory, and what computes", "2": "Disk and files", "3": "How a run ended", "4": "Runs", "5": "Pictures", "6": "Base models and other weights", "7": "Settings and results",
    "8": "The Hub", "9": "Installation, plugins and other machines",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of error.  says: how its sentences are told, as regular expressions.  action: of ACTIONS, "" where there is no button."""

    code: str
    title: str
    cause: str
    do: str
    says: tuple[str, ...] = ()
    action: str = ""


KINDS = (
    Kind(
        "E-100", "Something that has no number of its own",
        "It was not foreseen, or it is so particular that only its own sentence can say it.",
        "Read the sentence and its details. Press Resume, or duplicate the run with other settings. If it stays, report it: “Report a problem” packs what is needed, without your pictures and names.",
    ),
    # 1: memory, and what computes
    Kind(
        "E-101", "The graphics card ran out of memory",
        "Base model, adapter and one batch of pictures together need more VRAM than is free. Other programs may hold some of it. A training went on milder by itself as often as it could.",
        "Press Make it fit: it recomputes, quantises or lowers what costs the least quality first. Or close other programs that use the card, lower the resolution or the batch size, or choose a smaller base model.",
        (r"graphics card ran out of memory", r"of VRAM are needed"), "fit",
    ),
    Kind(
        "E-102", "The computer ran out of memory (RAM)",
        "The model is loaded through RAM, and what is offloaded waits there; other programs take their share.",
        "Close other programs, then press Resume. If it happens again, press Make it fit, or choose a smaller base model.",
        (r"computer ran out of memory", r"of memory \(RAM\) are needed"), "fit",
    ),
    Kind(
        "E-103", "The graphics card refused to work",
        "The driver and the installed PyTorch do not go together, the card was lost for a moment (heat, power, a sleeping laptop), or the driver crashed.",
        "Update the graphics driver and restart the computer, then press Resume. ‘python -m training doctor’ says what PyTorch sees.",
        (r"graphics card refused to work", r"graphics card was lost"),
    ),
    Kind(
        "E-104", "There is no device of the chosen kind",
        "The settings ask for a graphics card or Apple GPU that this computer has not, that is too old, or that PyTorch cannot use. A run that was made elsewhere may ask for what is only there.",
        "Duplicate the run: the new one is set for this machine. ‘python -m training doctor’ says what can be used here.",
        (r"There is no graphics card here", r"\bdevice is '", r"PyTorch finds no usable", r"torch sees none", r"only emulates"), "settings",
    ),
    Kind(
        "E-105", "It crashed inside native code",
        "A library that is not Python ended the process: most often the graphics driver, seldom a broken installation or memory that forgets.",
        "Update the graphics driver, then press Resume. If it crashes at the same step again, report it; the log has its last words.",
        (r"crashed inside native code",),
    ),
    Kind(
        "E-106", "It crashed on a bus error",
        "A mapped file could not be read to its end: often a full disk, or one that was taken away.",
        "Free some space, look whether the disk is well, then press Resume.",
        (r"crashed on a bus error",), "disk",
    ),
    # 2: disk and files
    Kind(
        "E-201", "The disk is full",
        "A checkpoint, sample or cache could not be written. What was saved before is whole.",
        "Free some space, then press Resume: deleting old runs and emptying the cache are one press away.",
        (r"disk is full", r"the disk that holds .* (is full|takes no more)"), "disk",
    ),
    Kind(
        "E-202", "More disk space is needed than is free",
        "It was reckoned before anything was written: a download, a model that is unpacked, or the checkpoints of a training.",
        "Free the amount that the sentence names, keep fewer checkpoints, or move Easel's folder to a larger disk with --home.",
        (r"of disk are needed", r"needs .* GB more, but", r"GB to be unpacked, but", r"more, but only .* are free", r"takes .* GB, but .* GB are free", r"needs more room than there is"), "disk",
    ),
    Kind(
        "E-203", "A file cannot be read or written",
        "It belongs to somebody else, is held by another program (a virus scanner, for one), was moved, or lies on a disk that fails or is read-only.",
        "Mend what the sentence names, then press Resume.",
        (
            r"^(Device or resource busy|Stale file handle|File name too long|Access is denied)",
            r"^(Permission denied|No such file or directory|Is a directory|Not a directory|Input/output error|Read-only file system|Too many open files|File exists|Operation not permitted)", r"cannot write to its folder", r"disk no longer answers", r"could no longer write to its folder", r"folder for locks belongs to", r"cannot be (read|written to)(: | by )", r"close what has (it|a file of it) open", r"prompt_file is",
        ),
    ),
    # 3: how a run ended
    Kind(
        "E-301", "The computer was restarted",
        "It was switched off or restarted while the run was going: an update, a power cut, or somebody's hand.",
        "Press Resume: it goes on from the last checkpoint, to the same result.",
        (r"computer was restarted",),
    ),
    Kind(
        "E-302", "It ended without a word",
        "The process was ended from outside: killed by a person or a program, a power cut, or a container that was stopped.",
        "Press Resume: it goes on from the last checkpoint. If it happens again and again, look whether something on this computer ends long processes.",
        (r"ended without a word",),
    ),
    # 4: runs
    Kind(
        "E-401", "What it was trained on has changed",
        "Pictures, captions, settings or the files of the base model are not what they were when the checkpoint was written.",
        "Put that back, or accept the changes and resume: then it goes on with what is there now. ‘Exactly again’ trains on what it was.",
        (r"resume with the changes accepted", r"not the ones that this checkpoint was trained with", r"have changed since this checkpoint", r"is not the one that this run was begun with"),
    ),
    Kind(
        "E-402", "A checkpoint is damaged",
        "Its bytes are not what was written: a disk that fails, or a copy that broke off. A damaged one is set aside, and the one before it is taken.",
        "Resume goes on from the newest whole one. Where none is left, duplicate the run to train again, and look whether the disk is well.",
        (r"checkpoint .*is damaged", r"checkpoint .*damaged \(", r"is not one that Easel wrote", r"speaks of step", r"was set aside", r"Duplicate the run to train again from the start", r"is not a \.safetensors file:", r"MANIFEST\.json cannot be read", r"state of type"),
    ),
    Kind(
        "E-403", "The run was not made here",
        "It was copied or imported. Whoever made it chose what its job reads, so nothing of it starts by itself.",
        "Look at what it would use, then accept it; or duplicate the run to see all its settings first.",
        (r"was not made here", r"accept that, or duplicate the run", r"accept that first$"),
    ),
    Kind(
        "E-404", "Something that the run needs is not on this computer",
        "A run that came from elsewhere names a dataset, a base model or a plugin that is not here under that name.",
        "Bring it here, or say in the run's head what stands for it. An export with pictures and base model has all of it inside.",
        (r"it needs .*, which (is|are) not on this computer", r"cannot go on here"),
    ),
    Kind(
        "E-405", "Another run uses the machine",
        "One run at a time uses a graphics card; a resumed run does not wait in the queue.",
        "Wait for the other one, or stop it.",
        (r"one run at a time uses", r"is using the machine", r"another run is being started", r"is still ending", r"is running( already| and|;|$)"),
    ),
    Kind(
        "E-406", "The run's folder is not as it should be",
        "There is a link, a pipe or something else in it that no training writes, or a file of it cannot be read.",
        "Put the plain files back, or take away what does not belong there.",
        (r"cannot run: in its folder", r"the run .* cannot be opened", r"leads out of the run folder", r"its events take more room", r"is a link, not a", r"events\.jsonl says that the run goes on with"),
    ),
    Kind(
        "E-407", "The run cannot do that now",
        "It is finished, not finished yet, or gone; or there is nothing of it that this could be done with.",
        "Look at the run's state in Results; a finished run is duplicated or trained longer.",
        (r"is finished; duplicate", r"is not running", r"there is no run called", r"there are too many runs", r"is not on this computer; end it where", r"no (result|finished LoRA|checkpoint)", r"has trained nothing", r"trained the whole model", r"there is no (command|event) ", r"carries \S+, not", r"is not finished", r"train longer", r"steps make",
            r"no samples to show", r"contact sheet (could|took)", r"is not a picture of this run", r"^a picture gets", r"much was said of this run",
            r"does not wait in the queue", r"would ever begin", r"cannot wait for itself", r"another run to wait for", r"queue is being changed", r"can wait for something", r"run is still busy", r"learning rate (begins anew at|goes on by)", r"rate cannot begin anew"),
    ),
    Kind(
        "E-408", "The file is no run that can be imported",
        "It holds none, or several, or one that another Easel wrote or somebody has changed.",
        "Import what ‘Export’ made, or the folder of a run. Datasets are added on the Dataset tab.",
        (r"so (it|this) is no run", r"holds several runs", r"only (those|trainings) are (im|ex)ported", r"no run that can be kept", r"is not what Easel writes", r"a newer Easel may have", r"is the most of a run", r"this run does not name", r"there is nothing at", r"too many models", r"does not end$", r"stands there twice$"),
    ),
    # 5: pictures
    Kind(
        "E-501", "The dataset is not there",
        "It was renamed or deleted, or the folder that was used in place has moved.",
        "Choose another dataset, or put the folder back where it was.",
        (r"no dataset called", r"there is no folder(?! and)(?!.*Hub id)", r"came from a folder", r"with which a sample is to begin", r"has no folder", r"is used in place", r"the folder .* is gone, so"), "pictures",
    ),
    Kind(
        "E-502", "No picture is left to train on",
        "There is none, all are left out, held out or kept as they are, or all are smaller than the training size.",
        "Add pictures, take some back, or lower the resolution.",
        (r"no usable picture", r"(nothing|Nothing) is left to train on", r"kept as they are; add pictures", r"every picture is smaller", r"no pictures? (to learn from|that can be captioned|to look at)", r"held_out is", r"has no pictures", r"holds no pictures", r"table without pictures"), "pictures",
    ),
    Kind(
        "E-503", "A picture or clip cannot be read",
        "The file is damaged, cut off, or in a format that is not read here; or reading it took too much time or memory, as harmful files do.",
        "Open it in a picture editor and save it again as PNG or JPEG, or leave it out. The others are used.",
        (r"decoding it", r"file is empty", r"claims far more", r"not numbers", r"holds sound but", r"is coded as", r"is cut off(?!; download)", r"(picture|clip) .*(broken|damaged)", r"too short", r"is no picture", r"the file is damaged", r"memory to decode", r"no picture called", r"no picture of the run's datasets is called", r"no thumbnail of", r"cannot be read, so it has no crop", r"more memory than"), "pictures",
    ),
    Kind(
        "E-504", "A picture has a size that cannot be used",
        "It is too small, too long for its width, or so large that reading it would take the machine.",
        "Scale or crop it first, or leave it out.",
        (r"px is too small", r"longer than \S+:1", r"megapixels", r"MB large;", r"scale it down", r"below the smallest side", r"clip is too long"), "pictures",
    ),
    Kind(
        "E-505", "Control pictures are missing",
        "What learns here looks at a control picture beside each picture, and there is none.",
        "Put name.control.png beside name.jpg, or have them made on the Dataset tab.",
        (r"has a control picture to learn from", r"has no control picture", r"has to be shown .*; drop one"), "pictures",
    ),
    Kind(
        "E-506", "A pair for an edit is not whole",
        "An edit is learnt from pictures with the picture before beside each, a caption that says what was done, and one shape for both; the sentence names the pictures that lack one of these.",
        "Add what is missing on the Dataset tab, or leave these pictures out.",
        (r"^[Nn]o picture has one that it is made from", r"^Without a picture that it is made from", r"^Not all that it is made from can be used", r"^Without a caption, which is what an edit", r"^Of another shape than the picture before", r"^Made from more pictures than"), "pictures",
    ),
    # 6: base models and other weights
    Kind(
        "E-604", "The file is pickled",
        "Such a file can run code when it is opened, whatever it is called; Easel opens none.",
        "Get the .safetensors version of it.",
        (r"^(?!.*(start_from|training_adapter|context_adapter|speed_adapter|image_encoder)).*pickled",), "base",
    ),
    Kind(
        "E-602", "The base model is incomplete or damaged",
        "A download broke off, a file is a web page or a pointer, a part is missing, or the disk has changed it since.",
        "Download it again, whole. One that the Hub's own cache holds is fetched again when its damaged file is deleted.",
        (r"[Dd]ownload it again", r"download the base model again", r"get (it|the base model) again", r"[Gg]et the whole base model", r"is damaged on this disk", r"is only a pointer", r"is a web page", r"has a damaged header", r"base model has no \S+/", r"holds .+, which .+ does not have"), "base",
    ),
    Kind(
        "E-603", "It is a base model of another family",
        "The file or folder is made for another architecture than the one that was chosen.",
        "Choose the family that it belongs to, or another base model.",
        (r"but you chose", r"of another family", r"does not hold a .* as", r"two transformers", r"this family trains", r"choose (its own|the) family", r"predicts .*; this family"), "base",
    ),
    Kind(
        "E-601", "The base model is not there",
        "Its folder or file has moved, or it is not what a base model looks like.",
        "Say where it is, or choose another base model. A Hub id has the form owner/name.",
        (r"there is no folder .*Hub id", r"is no base model", r"no model_index\.json", r"so it is not a base model", r"named? a base model", r"cannot be unpacked without"), "base",
    ),
    Kind(
        "E-605", "The base model cannot be trained on",
        "Its weights are quantised, or diffusers has no pipeline that draws with it.",
        "Get its bf16 or fp16 version, or choose another base model.",
        (r"quantised weights, which cannot", r"quantised and cannot learn", r"has no working pipeline", r"makes a clip from its first frame"), "base",
    ),
    Kind(
        "E-606", "An adapter or image encoder does not fit",
        "The file that the run starts from, trains with or is drawn with is for another base model, of another kind or size, pickled, or not there.",
        "Choose another file, leave the field empty, or set what the sentence names.",
        (
            r"start_from", r"[Tt]raining.adapter", r"holds no LoRA for", r"cannot be read for ", r"cannot lie beside the base", r"image.encoder", r"adapter does not fit", r"(saved|another kind of) adapter", r"saved weights do not fit", r"for another one\?", r"is it for this", r"name the \.safetensors", r"no such run; give", r"which was not loaded",
            r"set adapter\.(rank|targets|text_encoder)", r"not a \.safetensors file;", r"is a whole model, not an adapter", r"version of peft", r"strength of an OFT", r"the path of the LoRA", r"give a file's path", r"only read from one", r"name the one that is meant", r"no finished network", r"was trained beside", r"can wear no LoRA",
        ), "settings",
    ),
    # 7: settings and results
    Kind(
        "E-703", "The numbers went out of bounds",
        "A loss, a picture or an encoder gave infinity or what is no number: too high a learning rate, or fp16 with a model that it is too narrow for.",
        "Lower the learning rate, or use bf16 or fp32, in a new run. The last checkpoint is from before.",
        (r"not finite", r"loss became"), "settings",
    ),
    Kind(
        "E-704", "The result was not as it should be",
        "The finished file is loaded again and compared with what was trained; it changes nothing, or acts otherwise. Its checkpoints are kept.",
        "If it changes nothing, raise the learning rate or the steps and train again. If it acts otherwise, report it.",
        (r"finished adapter", r"was not kept; please report", r"returned without a result"), "settings",
    ),
    Kind(
        "E-705", "Something looks like an access token",
        "Job files, model cards and captions are kept or published as plain text, so no token may stand in one.",
        "Take it out, sign in with it on the Publish tab instead, and revoke it if others could see it.",
        (r"access token; sign in", r"looks like a (Hub|access) token"), "sign_in",
    ),
    Kind(
        "E-701", "A setting is not valid",
        "A value is out of bounds or of another kind, a name is misspelt, or a job file is not one that this version knows.",
        "Change what the sentence names. A run of a newer Easel needs that one.",
        (r"is not valid:", r"is not a setting", r"is missing$", r"(line \d+|line …):", r"is nested too deeply", r"stands twice", r"a job is a mapping", r"environment", r"no preset", r"is the most", r"is no regular expression", r"^the name ", r"must (not )?be (at least|below|above)", r"job file that is known", r"sample prompts?(;| of this run were| is needed)"), "settings",
    ),
    Kind(
        "E-702", "Settings do not go together",
        "Two settings contradict each other, or one does not fit this base model: layers that it has not, a size that does not divide, a kind of training that needs something else.",
        "Change what the sentence names.",
        (
            r"no (chosen )?layer", r"leave no (layer|weight)", r"has no such layers", r"no weight", r"optimizer\.rates has", r"prior_target is", r"keeps no memory free", r"does not divide by", r"draws still pictures", r"made_from", r"nothing is made from it", r"an edit is made from still", r"draws nothing without", r"takes one picture", r"sampler is", r"keep\.", r"frames", r"numbers of", r"has no effect",
            r"^(adapter|data|engine|loss|model|optimizer|sample|save|concept)\.\w+ ", r"which a \.safetensors file cannot hold", r"holds no sentence", r"tell the pictures of a batch apart", r"leaves no layer",
        ), "settings",
    ),
    # 8: the Hub
    Kind(
        "E-803", "The licence has to be accepted first",
        "The owner of the model asks everybody to accept its licence on its page.",
        "Open the page that the sentence names, accept there, then sign in here with a token of the same account.",
        (r"\bshard is (on|auto|…), but", r"accept its (licence|terms)",), "sign_in",
    ),
    Kind(
        "E-801", "The Hub does not know who you are",
        "There is no token here, or the Hub does not accept it any more.",
        "Make a token on the Hub, sign in with it on the Publish tab, and try again.",
        (r"[Nn]ot signed in", r"[Nn]obody is signed in", r"does not accept the token", r"\(401\)"), "sign_in",
    ),
    Kind(
        "E-802", "The token may not do that",
        "It can only read, or has no rights in that namespace.",
        "Use a token with write access, or choose a namespace of yours.",
        (r"\(403\)", r"can only read", r"token may not read"), "sign_in",
    ),
    Kind(
        "E-804", "The Hub does not find it",
        "The name is misspelt, the repository or revision is gone, or it is private.",
        "Check the name; sign in if it is private.",
        (r"\(404\)", r"gone from the Hub", r"no model .* on the Hub", r"there is no model", r"has no revision", r"the Hub did not give it", r"no dataset of the Hub", r"no page of a dataset"), "sign_in",
    ),
    Kind(
        "E-806", "The Hub has too much to do",
        "It answers that it is busy or has a problem of its own.",
        "Wait a while, then try again; everything is safe on this computer.",
        (r"\(429\)", r"had too many requests", r"\(5\d\d\)", r"problem of its own", r"\(408\)"),
    ),
    Kind(
        "E-805", "The Hub cannot be reached",
        "The network is away, a proxy or firewall is in between, or offline mode is on.",
        "Connect to the internet, then press Resume or Retry: downloads go on where they stopped.",
        (r"Hub cannot be reached", r"connection to .* broke", r"download of .* broke off", r"[Oo]ffline mode", r"no answer in time", r"is not on this computer yet"),
    ),
    Kind(
        "E-807", "The Hub refused what was sent",
        "It is too large, the card is not valid, the repository is public where a private one was asked for, or somebody changed it meanwhile.",
        "Mend what the sentence says, then press Retry. Nothing of others was overwritten.",
        (r"\((400|409|412|413)\)", r"The Hub refused", r"already and is public", r"was changed by someone else", r"card.*front matter", r"model card", r"name (for the|for a) repository", r"not a sample picture", r"does not lie inside the run", r"reload the page and choose again"),
    ),
    Kind(
        "E-808", "It is not the Hub that this computer uses",
        "A job from elsewhere names another address; a token is sent to none that was not chosen here.",
        "If you trust that address, set HF_ENDPOINT to it and start Easel again.",
        (r"is not the Hub this computer uses", r"Hub's address is not"),
    ),
    # 9: installation and plugins
    Kind(
        "E-903", "The worker process could not begin",
        "Python or a library broke before the first word: an installation that was interrupted, or a program that forbids new processes.",
        "Start Easel with its launcher, which repairs what is installed; ‘python -m training doctor’ says what is wrong.",
        (r"worker process could not begin",),
    ),
    Kind(
        "E-902", "A part of Easel could not be loaded",
        "A library is missing or of another version than was tested.",
        "Start Easel with its launcher, which repairs what is installed; ‘python -m training doctor’ says what is wrong.",
        (r"part of Easel could not be loaded",),
    ),
    Kind(
        "E-901", "A plugin is missing or does not load",
        "The run names a kind of model, adapter, objective or job that is not installed here, or its file is broken or too new.",
        "Copy the plugin into the folder plugins if you trust who wrote it, and start Easel again; the list at the foot of the side panel says why one is not used.",
        (r"there is no \S+ plugin", r"plugin .* does not load", r"for plugin interface", r"EASEL_API", r"which every file in", r"the plugin was written for"),
    ),
    Kind(
        "E-904", "This hardware lends no card to a training",
        "A Space with ZeroGPU hardware gives its card to short calls only.",
        "Choose a GPU with an hourly price in the Space's settings, or the free CPU for the small example.",
        (r"ZeroGPU",),
    ),
    Kind(
        "E-905", "Whether a newer version is out cannot be said",
        "The package index did not answer, or not in a way that can be read; it is asked only when you press the button.",
        "Look whether this computer has internet, then ask again. Everything else works without it.",
        (r"[Pp]ackage index",),
    ),
    Kind(
        "E-906", "A tracker, a phone or a chat was not told",
        "Another process tells the tracker of the same run already, a sample is not as large as one can be, or the address for messages is none or does not answer. The training goes on either way.",
        "Wait until the other one has ended, then show the run again; what was told is not told twice. For messages, look at the address in the side panel and send a test.",
        (r"is being told of this run already", r"px, which no sample has", r"address (for messages|of ntfy|that messages)", r"message was not sent", r"messages go by"),
    ),
    Kind(
        "E-907", "It ended on the other machine",
        "The run was sent away and came to its end there: by its own fault, which the sentence behind the machine's name tells, by a limit of time or money, or because somebody ended it there.",
        "What it had saved came home where it could be fetched. Mend what the sentence says, or give it more limit_hours, then press Resume: it goes on from the newest checkpoint.",
        (
            r"^On .{1,100}?: ", r"failed there without saying why", r"was ended while it was looked through", r"was not begun there", r"ended there before it began", r"after its time limit of", r"[Ii]t was cancelled (before it began|while the packages)",
            r"the job (is no longer there|was (cancelled|deleted)|failed|ended) ", r"the training (was (cancelled|ended)|ended) at Modal", r"process on the other machine was ended from outside", r"Modal keeps a result for some days",
        ),
    ),
    Kind(
        "E-908", "The other machine is not ready, or refuses",
        "It is not known to this computer or does not take its key, something that the run needs is missing there, the account has no right or no credit, or what it was told does not fit it.",
        "Do what the sentence says, on that machine or with that account, then press Resume. docs/elsewhere.md and docs/ssh.md say what a machine needs.",
        (
            r"which the other machine has not", r"the host is .*; give a name", r"the user is .*, which is no user's name", r"packages could not be installed on the other machine", r"worker does not run there", r"several workers run there", r"docker says",
            r"[Tt]here is no (docker program|ssh) on this computer", r"does not stop the training", r"token_along is on", r"the package modal is missing", r"Modal does not accept the token", r"Modal (refuses|says)", r"choose the (card|hardware), as it is paid for",
            r"Hugging Face (refused|asks for credit|has no hardware)", r"Hugging Face Jobs is on the internet", r"the bucket .* is public", r"is no plain path; it takes", r"must be a folder below the home folder there", r"are needed there; free some", r"look at the host's name",
            r"runs Windows; a machine with", r"or newer is needed: install it there", r"install Python .* or newer there", r"shows another host key", r"is not known to this computer yet", r"does not take your key", r"ssh does not work here", r"say which machine: its name",
        ),
    ),
    Kind(
        "E-909", "What was sent or made there is gone, or did not arrive whole",
        "It was deleted on the other machine, its disk or the way to it damages files, or somebody has changed what lies there. All that comes is compared with what was sent and made.",
        "Press Resume: what is missing is sent or fetched again, and what is on this computer already is kept. If it stays, look at the disk and the memory of that machine.",
        (
            r"What was sent to .* is gone", r"arrived (from .* )?damaged", r"arrive damaged", r"did not arrive", r"no longer in the bucket", r"the bucket .* was deleted", r"is not among what was made there", r"reports from the other machine", r"the other machine reports makes no sense",
            r"is no name for a file of a run", r"^(.* )?is not a plain file$", r"is not a list of files", r"is no command$", r"is not what was sent, so it is left alone", r"took only a part of what was sent", r"gave half an answer",
        ),
    ),
    Kind(
        "E-910", "The other machine does not answer",
        "The network is away, the machine is switched off or busy, or its service has a problem of its own. What runs there goes on, and may cost money.",
        "Look whether it is on and this computer has internet. While its watch runs here, it asks again and again by itself; afterwards press Resume, which finds the run there again.",
        (r"did not answer within", r"(Hugging Face|Modal) cannot be reached", r"answers in a way that Easel does not know", r"in a way that Easel does not know: ", r"ssh: (connect|Could not)"),
    ),
)  # fmt: skip

_FIRST = ("E-909", "E-908", "E-910", "E-904", "E-408", "E-901", "E-404", "E-401", "E-403", "E-903", "E-902", "E-803", "E-801", "E-802", "E-804", "E-806", "E-805", "E-807", "E-808", "E-101", "E-102", "E-201", "E-202", "E-705", "E-604", "E-506")
_FOREIGN = re.compile(r"[\w.]*(Error|Exception): ")  # so begins what a library said in its own words, which is never about a setting as Easel calls it


def of(sentence: str) -> Kind:
    """The kind that a sentence tells of; the general one where it is none that is known."""
    text = " ".join(sentence.split())
    foreign = bool(_FOREIGN.match(text))
    return next((kind for kind, told in _told() if not (foreign and kind.code[2] == "7") and told.search(text)), by_code(GENERAL)) if text else by_code(GENERAL)


def by_code(code: str) -> Kind:
    """Raises ValueError for a number that there is not."""
    found = next((kind for kind in KINDS if kind.code == code.upper()), None)
    if found is None:
        raise ValueError(f"there is no error {code!r}; they go from {KINDS[0].code} to {max(kind.code for kind in KINDS)}")
    return found


def marked(sentence: str) -> str:
    """The sentence with its number behind it, for a terminal."""
    return f"{sentence} [{of(sentence).code}]" if sentence else ""


def page() -> str:
    """docs/errors.md."""
    lines = [
        "# What can go wrong", "",
        "Every error has a number, which stands small beside its sentence on the page and on the command line, and stays the same from version to version.",
        "`python -m training errors E-101` prints one of them; this page is printed by `python -m training errors --page`.", "",
    ]  # fmt: skip
    for room, heading in ROOMS.items():
        lines += [f"## {heading}", ""]
        for kind in sorted((k for k in KINDS if k.code[2] == room), key=lambda k: k.code):
            button = f" On the page: **{ACTIONS[kind.action]}**." if kind.action else ""
            lines += [f"### {kind.code}", "", f"**{kind.title}.** {kind.cause}", "", f"*What to do:* {kind.do}{button}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


@cache
def _told() -> tuple[tuple[Kind, re.Pattern], ...]:
    """What is most particular first: a sentence may hold the words of several."""
    order = sorted((k for k in KINDS if k.says), key=lambda k: _FIRST.index(k.code) if k.code in _FIRST else len(_FIRST))
    return tuple((kind, re.compile("|".join(kind.says))) for kind in order)
