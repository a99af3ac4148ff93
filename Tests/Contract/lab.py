"""The three services without nginx, and a programmable go-between before Stock and before Payment."""

from __future__ import annotations

from api import Api, new_key
from fakes import Downstream
from stack import Service, eventually


class Lab:
    """Order calls Stock and Payment through fakes that pass everything on until a test says otherwise."""

    def __init__(self, order: dict | None = None, stock: dict | None = None, payment: dict | None = None,
                 order_data_dir=None, stock_data_dir=None, payment_data_dir=None):
        self.stock = Service("stock", stock, stock_data_dir)
        self.payment = Service("payment", payment, payment_data_dir)
        self.to_stock = Downstream(self.stock.url)
        self.to_payment = Downstream(self.payment.url)
        self.order = Service("order", {"STOCK_BASE_URL": self.to_stock.url, "PAYMENT_BASE_URL": self.to_payment.url,
                                       **(order or {})}, order_data_dir)
        self.api = Api(self.order.url, self.stock.url, self.payment.url)

    def start(self) -> "Lab":
        try:
            for service in (self.stock, self.payment, self.order):
                service.spawn()
            for service in (self.stock, self.payment, self.order):
                service.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def calls(self) -> list:
        """Every command that Order has sent, to either service."""
        return sorted(self.to_stock.seen() + self.to_payment.seen(), key=lambda r: r.at)

    def reset(self) -> None:
        """Faults off, and quiet: what an earlier test left running has ended, and no breaker stands open."""
        self.to_stock.reset()
        self.to_payment.reset()
        self.api.wait_settled()
        eventually(lambda: self.api.checkout(new_key("probe"), 1, 1, user="probe").status_code == 200,
                   "an ordinary checkout works again", 45, every=0.2)
        self.to_stock.reset()
        self.to_payment.reset()

    def stop(self) -> None:
        self.api.close()
        for part in (self.order, self.stock, self.payment, self.to_stock, self.to_payment):
            part.stop()

    def __enter__(self) -> "Lab":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

