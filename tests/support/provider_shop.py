"""A provider's shop as a value: what it sells, and how the steps of a push change that."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from paygrade.catalog.model import Catalog
from paygrade.catalog.provider_catalog import ProviderCatalog, ProviderMeter, ProviderPrice, ProviderProduct
from paygrade.catalog.provider_check import whether_bought
from paygrade.catalog.provider_steps import (
    Archive,
    CreateMeter,
    CreatePrice,
    CreateProduct,
    Doable,
    MoveKey,
    Step,
    is_ready,
    steps,
)

NOTHING = ProviderCatalog({}, ())
ROUNDS_MAX = 5


class Shop:
    """It, and who pays what: `bought` are ids of prices."""

    def __init__(self, sold: ProviderCatalog = NOTHING, bought: Sequence[str] = ()) -> None:
        self.sold = sold
        self.bought = set(bought)
        self.taken: list[Doable] = []

    name = "stripe"

    def read_catalog(
        self, names: Sequence[str], ask: Callable[[ProviderPrice], bool], *, meters: bool
    ) -> ProviderCatalog:
        prices = tuple(
            replace(price, bought=price.id in self.bought) if ask(price) else price for price in self.sold.prices
        )
        return replace(self.sold, prices=prices, meters=self.sold.meters if meters else ())

    def seen(self, catalog: Catalog) -> ProviderCatalog:
        """What a reading for this catalog says."""
        return self.read_catalog((), whether_bought(catalog), meters=True)

    def push(self, catalog: Catalog, *, archive_old: bool = False, interrupted_after: int | None = None) -> list[Step]:
        """Take steps until none is left, or so many; gives those that are left."""
        count = 0
        for _ in range(ROUNDS_MAX):
            left = steps(catalog, self.seen(catalog), archive_old=archive_old)
            ready = [step for step in left if is_ready(step)]
            for step in ready:
                if count == interrupted_after:
                    return list(left)
                self.take(step)
                count += 1
            if not ready:
                return list(left)
        raise AssertionError("it never ends")

    def take(self, step: Doable) -> None:
        self.taken.append(step)
        products, prices, meters = dict(self.sold.products), list(self.sold.prices), list(self.sold.meters)
        match step:
            case CreateMeter():
                assert not any(meter.event_name == step.event_name and meter.active for meter in meters)
                meters.append(ProviderMeter(f"mtr_{len(meters)}", step.event_name, step.name))
            case CreateProduct():
                id = step.id or f"prod_made_{len(products)}"
                assert id not in products
                products[id] = ProviderProduct(id, step.name, True, step.description, step.key, step.sold_as)
            case CreatePrice():
                assert step.product in products
                prices = [self._without(price, step.lookup_key) for price in prices]
                # The newest stands first.
                prices.insert(0, ProviderPrice(f"price_made_{len(prices)}", step.product, True, step.charge,
                                               step.lookup_key, step.key, step.part))  # fmt: skip
            case MoveKey():
                prices = [self._without(price, step.lookup_key) for price in prices]
                prices = [replace(price, lookup_key=step.lookup_key) if price.id == step.price else price
                          for price in prices]  # fmt: skip
            case Archive():
                prices = [replace(price, active=False) if price.id == step.price else price for price in prices]
        self.sold = replace(self.sold, products=products, prices=tuple(prices), meters=tuple(meters))

    @staticmethod
    def _without(price: ProviderPrice, key: str) -> ProviderPrice:
        return replace(price, lookup_key=None) if price.lookup_key == key else price
