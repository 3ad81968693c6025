from .converters import ConversionError as ConversionError
from .converters import to_spiking as to_spiking
from .converters import to_spiking_graph as to_spiking_graph
from .converters import write_back as write_back
from .memory import Memory as Memory
from .night import Member as Member
from .night import SleepRecord as SleepRecord
from .night import SpontaneousReplay as SpontaneousReplay
from .night import sleep as sleep
from .sims.awake.present import present as present
from .sims.drives.rates import MaskedMeanRate as MaskedMeanRate
from .sims.drives.rates import MeanRate as MeanRate
from .sims.drives.rates import UniformNoise as UniformNoise
from .sims.drives.recorded import RecordedSpikes as RecordedSpikes
from .sims.ensemble import simulate as simulate
from .sims.ensemble import simulate_ensemble as simulate_ensemble
from .sims.errors import BackendError as BackendError
from .sims.errors import InputError as InputError
from .sims.errors import NeurosleepError as NeurosleepError
from .sims.homeostasis.downscaling import GradedDownscaling as GradedDownscaling
from .sims.homeostasis.downscaling import MagnitudePruning as MagnitudePruning
from .sims.rules.hebbian import GatedHebbian as GatedHebbian
from .sims.rules.hebbian import Hebbian as Hebbian
from .sims.spikes.log import SpikeLog as SpikeLog
from .sims.spikes.reader import SpikeReader as SpikeReader

__version__: str
